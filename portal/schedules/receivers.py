"""What schedules do when something happens to what they start."""

from __future__ import annotations

from typing import Any

from portal.schedules import firing
from portal.workspaces.events import workspace_gone


def _gone(sender: object, **_: Any) -> None:
    firing.schedules_check()


def connect() -> None:
    """Subscribe; called once, when Django has loaded."""
    workspace_gone.connect(_gone, dispatch_uid="schedules.gone")
