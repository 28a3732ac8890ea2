"""What notices do when runs end, or are refused. Both are heard in the transaction of the change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from portal.notices import outbox
from portal.pipelines.events import run_ended, run_refused
from portal.pipelines.models import Pipeline, Run


def _ended(sender: object, *, run: Run, **_: Any) -> None:
    outbox.run_ended_note(run=run)


def _refused(sender: object, *, pipeline: Pipeline, due_at: datetime | None, why: str, **_: Any) -> None:
    if due_at is None:
        return  # whoever asked for it was told
    outbox.slot_note(owner_id=pipeline.owner_id, name=pipeline.name, pipeline_id=pipeline.pk, due_at=due_at, why=why)


def connect() -> None:
    """Subscribe; called once, when Django has loaded."""
    run_ended.connect(_ended, dispatch_uid="notices.ended")
    run_refused.connect(_refused, dispatch_uid="notices.refused")
