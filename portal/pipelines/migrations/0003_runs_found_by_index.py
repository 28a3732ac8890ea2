"""Lists of a person's, a script's and a workspace's runs are read from an index in their order."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("pipelines", "0002_executions"), ("workspaces", "0002_workspace_stop_requested_at")]

    operations = [
        migrations.RemoveIndex("run", "runs_of_a_person_by_state"),
        migrations.AddIndex(
            "run", models.Index(fields=["owner", "state", "-created_at"], name="runs_of_a_person_by_state")
        ),
        migrations.AddIndex("run", models.Index(fields=["script", "-created_at"], name="runs_of_a_script")),
        migrations.AddIndex("run", models.Index(fields=["workspace", "-created_at"], name="runs_of_a_workspace")),
    ]
