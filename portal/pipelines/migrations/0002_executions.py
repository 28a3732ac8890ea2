"""A step counts how often it has begun, so that the log of what begins again does not mix with the one before."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models
from django.db.models import F


def count_executions(apps: Any, schema_editor: Any) -> None:
    """What has been handed out had begun as often, as far as the logs tell."""
    apps.get_model("pipelines", "Step").objects.update(executions=F("attempt"))


class Migration(migrations.Migration):
    dependencies = [("pipelines", "0001_initial")]

    operations = [
        migrations.AddField(
            "step",
            "boot_id",
            models.CharField(blank=True, max_length=64, default="", help_text="Of the agent that began it last."),
            preserve_default=False,
        ),
        migrations.AddField(
            "step",
            "executions",
            models.PositiveSmallIntegerField(default=0, help_text="How often an agent has begun it."),
        ),
        migrations.RunPython(count_executions, migrations.RunPython.noop),
        # MySQL wants an index for the foreign key at any moment.
        migrations.AddIndex("logchunk", models.Index(fields=["step"], name="log_chunks_meanwhile")),
        migrations.RemoveConstraint("logchunk", "log_lines_are_written_once"),
        migrations.RenameField("logchunk", "attempt", "execution"),
        migrations.AlterField(
            "logchunk", "execution", models.PositiveSmallIntegerField(help_text="Which time that an agent began it.")
        ),
        migrations.AlterModelOptions("logchunk", options={"ordering": ["step", "execution", "first"]}),
        migrations.AddConstraint(
            "logchunk",
            models.UniqueConstraint(fields=["step", "execution", "first"], name="log_lines_are_written_once"),
        ),
        migrations.RemoveIndex("logchunk", "log_chunks_meanwhile"),
        migrations.AddIndex(
            "step",
            models.Index(
                fields=["workspace", "state", "released_at", "created_at", "id"], name="steps_by_backlog"
            ),
        ),
        migrations.RemoveIndex("step", "backlog_of_a_workspace"),
    ]
