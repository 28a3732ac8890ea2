"""Schedules may stand in a pipeline's YAML."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("schedules", "0001_initial")]

    operations = [
        migrations.AddField(
            "schedule",
            "of_pipeline",
            models.BooleanField(
                default=False, help_text="It stands in the pipeline's YAML: saving that changes or deletes it."
            ),
        ),
    ]
