"""What runs do when something happens to the workspace that they are in."""

from __future__ import annotations

from typing import Any

from portal.pipelines import sweeps
from portal.pipelines.models import OPEN, Step
from portal.workspaces.control import contribute_cancelled_steps
from portal.workspaces.events import workspace_gone
from portal.workspaces.models import Workspace

MOST_NAMED = 1_000


def _cancelled_steps(workspace: Workspace) -> list[str]:
    """The steps that instances are to stop: those that still have to answer."""
    asked = Step.objects.filter(workspace=workspace, state__in=OPEN, cancel_requested_at__isnull=False)
    return list(asked.order_by("cancel_requested_at").values_list("pk", flat=True)[:MOST_NAMED])


def _gone(sender: object, *, workspace: Workspace, **_: Any) -> None:
    sweeps.workspace_steps_end(workspace=workspace)


def connect() -> None:
    """Subscribe; called once, when Django has loaded."""
    contribute_cancelled_steps(_cancelled_steps)
    workspace_gone.connect(_gone, dispatch_uid="pipelines.gone")
