"""What budgets do when runs are made and end, and when instances are wanted: in the transaction of the change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portal.pipelines.events import run_accepted, run_ended
from portal.pipelines.models import Run, Step
from portal.usage import reservations
from portal.workspaces.events import instances_wanted
from portal.workspaces.models import Workspace


def _accepted(sender: object, *, run: Run, steps: Sequence[Step], **_: Any) -> None:
    reservations.run_accept(run=run, steps=steps)


def _ended(sender: object, *, run: Run, **_: Any) -> None:
    if run.cost_limit is not None:  # who has no budget costs no query here
        reservations.settle_on_commit(run=run)


def _wanted(sender: object, *, workspace: Workspace, **_: Any) -> None:
    reservations.budget_require(owner=workspace.owner)


def connect() -> None:
    """Subscribe; called once, when Django has loaded."""
    run_accepted.connect(_accepted, dispatch_uid="usage.budgets.accepted")
    run_ended.connect(_ended, dispatch_uid="usage.budgets.ended")
    instances_wanted.connect(_wanted, dispatch_uid="usage.budgets.wanted")
