from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('workspaces', '0005_nodes_leave'),
    ]

    operations = [
        migrations.AddField(
            model_name='instance',
            name='engine',
            field=models.CharField(blank=True, choices=[('ready', 'Docker engine'), ('coming', 'Docker is being installed'), ('none', 'no Docker engine')], help_text='Whether it can run containers; empty until it has said so.', max_length=8),
        ),
    ]
