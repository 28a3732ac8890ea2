"""What agents report about steps, applied to the database: untrusted, signed, at least once, in any order.

Whatever arrives changes only rows of the workspace whose key signed it, and changes them once.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import F, Q, Sum
from django.db.models.functions import Greatest
from django.utils import timezone

from agents.orca_agent import protocol
from portal.core.live import publish_on_commit
from portal.core.states import move
from portal.pipelines import dispatch
from portal.pipelines.models import OPEN, TRANSITIONS, LogChunk, SeenEvent, State, Step
from portal.pipelines.services import run_settle
from portal.workspaces import instances
from portal.workspaces.control import signing_key
from portal.workspaces.models import Workspace

logger = logging.getLogger(__name__)
MOST_LOG_LINES = 200_000


def envelope_apply(*, body: str) -> int:
    """Apply a message of the events queue; how many of its events changed something.

    Raises ``protocol.ProtocolError`` for one that is not to be believed: it is dropped, not tried again.
    """
    envelope = protocol.open_envelope(body, _key_of)
    for problem in envelope.rejected:
        logger.warning("an event of %s cannot be read: %s", envelope.workspace, problem)
    with transaction.atomic():
        workspace = Workspace.objects.select_related("owner").get(pk=envelope.workspace)
        fresh = _unseen(envelope.events)
        for event in fresh:
            _apply(workspace, envelope.instance, event)
        if any(isinstance(event, protocol.StepFinished | protocol.InstanceRegistered) for event in fresh):
            dispatch.steps_release(workspace=workspace)
    return len(fresh)


def _key_of(workspace_id: str) -> bytes | None:
    workspace = Workspace.objects.filter(pk=workspace_id).only("id", "signing_generation").first()
    return None if workspace is None else signing_key(workspace)


def _unseen(events: tuple[protocol.Event, ...]) -> list[protocol.Event]:
    """The events that have not been applied before. Heartbeats and log lines say by themselves whether they are new."""
    marked = [e for e in events if not isinstance(e, protocol.InstanceHeartbeat | protocol.StepLog)]
    known = (
        set(SeenEvent.objects.filter(pk__in=[e.id for e in marked]).values_list("pk", flat=True)) if marked else set()
    )
    new = {event.id for event in marked if event.id not in known}
    SeenEvent.objects.bulk_create([SeenEvent(id=event_id) for event_id in new])
    fresh = []
    for event in events:
        if event.id in known:
            continue
        if event.id in new or event not in marked:
            fresh.append(event)
            new.discard(event.id)
            known.add(event.id)
    return fresh


def _apply(workspace: Workspace, instance_id: str, event: protocol.Event) -> None:
    if isinstance(event, protocol.StepLog):
        _log(workspace, event)
    elif isinstance(event, protocol.StepStarted):
        _started(workspace, instance_id, event)
    elif isinstance(event, protocol.StepFinished):
        _finished(workspace, instance_id, event)
    elif isinstance(event, protocol.InstanceHeartbeat):
        instances.instance_heartbeat(workspace=workspace, instance_id=instance_id, event=event)
        Step.objects.filter(workspace=workspace, pk__in=[s.step for s in event.running], state__in=OPEN).update(
            seen_at=timezone.now()
        )
    elif isinstance(event, protocol.InstanceRegistered):
        instances.instance_registered(workspace=workspace, instance_id=instance_id, event=event)
    elif isinstance(event, protocol.InstanceStopping):
        instances.instance_stopping(workspace=workspace, instance_id=instance_id, event=event)
        _returned(workspace, event)


def _instant(at: float) -> datetime:
    return min(datetime.fromtimestamp(max(at, 0), UTC), timezone.now())


def _started(workspace: Workspace, instance_id: str, event: protocol.StepStarted) -> None:
    rows = Step.objects.filter(workspace=workspace, pk=event.step, run_id=event.run, attempt__gte=event.attempt)
    begun: dict[str, Any] = {"instance_id": instance_id, "seen_at": timezone.now()}
    started = move(rows, TRANSITIONS, State.RUNNING, started_at=_instant(event.at), **begun)
    if started or rows.filter(state=State.RUNNING).update(**begun):
        run_settle(run_id=event.run)
        publish_on_commit(f"run:{event.run}", f"owner:{workspace.owner_id}")


def _finished(workspace: Workspace, instance_id: str, event: protocol.StepFinished) -> None:
    """The first end that is heard of counts; later ones, of other attempts, find the step in a final state."""
    rows = Step.objects.filter(workspace=workspace, pk=event.step, run_id=event.run, attempt__gte=event.attempt)
    ended = move(
        rows,
        TRANSITIONS,
        event.state,
        attempt=event.attempt,
        instance_id=instance_id,
        seen_at=timezone.now(),
        started_at=_instant(event.started_at),
        finished_at=_instant(event.finished_at),
        exit_code=event.exit_code,
        signal=event.signal,
        reason=event.reason[:40],
        message=event.message,
        peak_memory_mb=event.peak_memory_mb,
        cpu_seconds=event.cpu_seconds,
        log_lines=Greatest(F("log_lines"), event.log.lines),
        log_bytes=event.log.bytes,
        log_truncated=event.log.truncated,
        log_key=_own_key(event, event.log.key),
        outputs=[asdict(output) for output in event.outputs],
        outputs_truncated=event.outputs_truncated,
    )
    if ended:
        run_settle(run_id=event.run)
        publish_on_commit(f"run:{event.run}", f"owner:{workspace.owner_id}")


def _own_key(event: protocol.StepFinished, key: str) -> str:
    """A log's key counts only where the step's own things lie."""
    return key if key.startswith(f"runs/{event.run}/{event.step}/") and ".." not in key else ""


def _log(workspace: Workspace, event: protocol.StepLog) -> None:
    step = Step.objects.filter(workspace=workspace, pk=event.step, run_id=event.run, attempt__gte=event.attempt).first()
    if step is None or not event.lines:
        return
    kept = step.log_chunks.filter(attempt=event.attempt).aggregate(lines=Sum("count"))["lines"] or 0
    if kept + len(event.lines) > MOST_LOG_LINES:
        return
    lines = [[line.stream, line.at, line.text] for line in event.lines]
    _, new = LogChunk.objects.get_or_create(
        step=step,
        attempt=event.attempt,
        first=event.first,
        defaults={"count": len(lines), "lines": lines},
    )
    if new:
        last = event.first + len(lines) - 1
        Step.objects.filter(pk=step.pk).update(log_lines=Greatest(F("log_lines"), last), seen_at=timezone.now())
        publish_on_commit(f"run:{event.run}")


def _returned(workspace: Workspace, event: protocol.InstanceStopping) -> None:
    """Steps that a leaving agent gave back to the queue wait there again."""
    mine = Q(workspace=workspace, pk__in=event.returned)
    rows = Step.objects.filter(mine)
    runs = list(rows.filter(state=State.RUNNING).values_list("run_id", flat=True))
    move(rows, TRANSITIONS, State.QUEUED, among=[State.RUNNING], started_at=None, instance_id="")
    for run_id in runs:
        run_settle(run_id=run_id)
        publish_on_commit(f"run:{run_id}", f"owner:{workspace.owner_id}")
