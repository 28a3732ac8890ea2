"""What notices do when runs end, or slots go by. Both are heard in the transaction of the change."""

from __future__ import annotations

from typing import Any

from portal.notices import outbox
from portal.pipelines.events import run_ended
from portal.pipelines.models import Run
from portal.schedules.events import slot_not_run
from portal.schedules.models import Fire


def _ended(sender: object, *, run: Run, **_: Any) -> None:
    outbox.run_ended_note(run=run)


def _not_run(sender: object, *, fire: Fire, **_: Any) -> None:
    outbox.slot_note(fire=fire)


def connect() -> None:
    """Subscribe; called once, when Django has loaded."""
    run_ended.connect(_ended, dispatch_uid="notices.ended")
    slot_not_run.connect(_not_run, dispatch_uid="notices.not_run")
