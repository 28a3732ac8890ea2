from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('clouds', '0002_links'),
    ]

    operations = [
        migrations.AddField(
            model_name='cloudaccount',
            name='registry',
            field=models.BooleanField(default=False, help_text="Whether the role may make repositories for container images; Orca's own may anyway."),
        ),
    ]
