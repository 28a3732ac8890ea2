"""What schedules do when something happens to what they start."""

from __future__ import annotations

from typing import Any

from portal.pipelines.events import pipeline_checked, pipeline_saved
from portal.schedules import firing, written
from portal.workspaces.events import workspace_gone


def _gone(sender: object, **_: Any) -> None:
    firing.schedules_check()


def connect() -> None:
    """Subscribe; called once, when Django has loaded."""
    pipeline_checked.connect(written.schedules_check, dispatch_uid="schedules.checked")
    pipeline_saved.connect(written.schedules_save, dispatch_uid="schedules.saved")
    workspace_gone.connect(_gone, dispatch_uid="schedules.gone")
