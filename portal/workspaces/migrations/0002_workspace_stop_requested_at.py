from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("workspaces", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="workspace",
            name="stop_requested_at",
            field=models.DateTimeField(
                blank=True,
                help_text="Asked for while Terraform was at work; done as soon as that has ended.",
                null=True,
            ),
        ),
    ]
