"""Which messages of the outbox go out as one is kept, so that sending them again sends the same."""

from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import F


def each_alone(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """What was written before goes alone."""
    apps.get_model("pipelines", "Outbox").objects.update(pack=F("id"))


class Migration(migrations.Migration):
    dependencies = [("pipelines", "0003_runs_found_by_index")]

    operations = [
        migrations.AddField(
            "outbox",
            "pack",
            models.CharField(
                default="", help_text="The messages of one pack go out as one; named after its first.", max_length=26
            ),
            preserve_default=False,
        ),
        migrations.RunPython(each_alone, migrations.RunPython.noop),
    ]
