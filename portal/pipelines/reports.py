"""What agents report about steps, applied to the database: untrusted, signed, at least once, in any order.

Whatever arrives changes only rows of the workspace whose key signed it, and changes them once. Many messages are
applied in one transaction: what they say of a step is put together in memory and written by one conditional UPDATE.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from agents.orca_agent import protocol
from portal.core.live import publish_on_commit
from portal.pipelines import dispatch
from portal.pipelines.attempts import Attempt, attempt_of, attempts_tell
from portal.pipelines.entries import Entry, own_key, try_of
from portal.pipelines.models import OPEN, LogChunk, SeenEvent, State, Step
from portal.pipelines.progress import retry_of, retry_when_due, runs_settle
from portal.pipelines.spending import MOST_RETURNS
from portal.workspaces import instances
from portal.workspaces.control import signing_key
from portal.workspaces.models import Workspace

logger = logging.getLogger(__name__)
MOST_LOG_LINES = 200_000
# A step that is tried again begins anew; a boot id that is not kept makes of its next beginning another execution.
_UNBEGUN: Mapping[str, Any] = {"started_at": None, "instance_id": "", "boot_id": "", "log_lines": 0}
# Fields that only a row's own page needs: heavy, and never read here.
_UNREAD = ("arguments", "environment", "limits", "outputs", "message", "log_key")


_OfStep = protocol.StepStarted | protocol.StepLog | protocol.StepFinished | protocol.StepReturned


class Overtaken(Exception):
    """Something else changed a row at the same moment: apply the whole once more."""


@dataclass(frozen=True)
class Report:
    """An event with the workspace that signed it and the instance that it names."""

    workspace: Workspace
    instance_id: str
    event: protocol.Event


class Signers:
    """The workspaces that sign, each looked up once for as long as a batch of messages takes."""

    def __init__(self) -> None:
        self._known: dict[str, Workspace | None] = {}

    def workspace(self, workspace_id: str) -> Workspace | None:
        """The workspace of this id, if there is one."""
        if workspace_id not in self._known:
            self._known[workspace_id] = Workspace.objects.filter(pk=workspace_id).order_by().first()
        return self._known[workspace_id]

    def key(self, workspace_id: str) -> bytes | None:
        """Its signing key."""
        workspace = self.workspace(workspace_id)
        return None if workspace is None else signing_key(workspace)


def envelope_open(*, body: str, signers: Signers) -> protocol.Envelope:
    """Check the signature of a message and read it. Raises ``protocol.ProtocolError``."""
    envelope = protocol.open_envelope(body, signers.key)
    for problem in envelope.rejected:
        logger.warning("an event of %s cannot be read: %s", envelope.workspace, problem)
    return envelope


def envelopes_apply(*, envelopes: Sequence[protocol.Envelope], signers: Signers) -> int:
    """Apply messages in the order in which they came; how many of their events were new.

    Raises ``Overtaken`` where a rival was quicker; nothing is changed then.
    """
    with transaction.atomic():
        reports = list(_unseen(_reports(envelopes, signers)))
        book = _Book.of(reports)
        for report in reports:
            book.read(report)
        with dispatch.releases_gathered():
            ended = book.write()
            for workspace in {report.workspace.pk: report.workspace for report in reports}.values():
                _heartbeats_note(workspace, reports)
                dispatch.pace.ended(workspace.pk, ended.get(workspace.pk, 0))
                if workspace.pk in ended or book.frees(workspace):
                    dispatch.release_soon([workspace.pk])
    return len(reports)


def _reports(envelopes: Sequence[protocol.Envelope], signers: Signers) -> Iterator[Report]:
    for envelope in envelopes:
        workspace = signers.workspace(envelope.workspace)
        if workspace is not None:
            yield from (Report(workspace, envelope.instance, event) for event in envelope.events)


def _unseen(reports: Iterable[Report]) -> Iterator[Report]:
    """Those that have not been applied before. Heartbeats and log lines say by themselves whether they are new."""
    reports = list(reports)
    marked = {r.event.id for r in reports if not isinstance(r.event, protocol.InstanceHeartbeat | protocol.StepLog)}
    known = set(SeenEvent.objects.filter(pk__in=marked).values_list("pk", flat=True)) if marked else set()
    SeenEvent.objects.bulk_create([SeenEvent(id=event_id) for event_id in sorted(marked - known)])
    for report in reports:
        if report.event.id not in known:
            known.add(report.event.id)
            yield report


def _heartbeats_note(workspace: Workspace, reports: Sequence[Report]) -> None:
    """The newest heartbeat of each instance counts; what it names as running is not forgotten."""
    latest: dict[str, protocol.InstanceHeartbeat] = {}
    for report in reports:
        event = report.event
        if report.workspace is workspace and isinstance(event, protocol.InstanceHeartbeat):
            before = latest.get(report.instance_id)
            if before is None or before.at <= event.at:
                latest[report.instance_id] = event
    for instance_id, event in latest.items():
        instances.instance_heartbeat(workspace=workspace, instance_id=instance_id, event=event)
    if running := {step.step for event in latest.values() for step in event.running}:
        Step.objects.filter(workspace=workspace, pk__in=running, state__in=OPEN).update(seen_at=timezone.now())


class _Book:
    """The steps that reports speak of, each of them only as far as the reporting workspace owns it."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self._chunks: list[LogChunk] = []
        self._freed: set[str] = set()
        self._attempts: list[Attempt | None] = []
        self._now = timezone.now()
        self._handlers: Mapping[type, Callable[[Report, Any], None]] = {
            protocol.StepLog: self._log,
            protocol.StepStarted: self._started,
            protocol.StepFinished: self._finished,
            protocol.StepReturned: self._returned,
            protocol.InstanceRegistered: self._instance_registered,
            protocol.InstanceStopping: self._instance_stopping,
        }

    @classmethod
    def of(cls, reports: Iterable[Report]) -> _Book:
        """The book for these reports."""
        ids: set[str] = set()
        for event in (report.event for report in reports):
            if isinstance(event, _OfStep):
                ids.add(event.step)
            elif isinstance(event, protocol.InstanceStopping):
                ids.update(event.returned)
        found = Step.objects.filter(pk__in=ids).select_related("run").defer(*_UNREAD) if ids else []
        return cls({step.pk: Entry(step, step.run.owner_id) for step in found})

    def read(self, report: Report) -> None:
        """Take in one report."""
        if handler := self._handlers.get(type(report.event)):
            handler(report, report.event)

    def _entry(self, report: Report, event: _OfStep) -> Entry | None:
        found = self._entries.get(event.step)
        if found is None or found.step.workspace_id != report.workspace.pk or found.step.run_id != event.run:
            return None
        return found if found.step.attempt >= event.attempt else None

    def _is_past(self, entry: Entry, event: _OfStep) -> bool:
        """Whether the event is of a try whose end has counted already, and which was to be tried again."""
        return bool(event.attempt <= entry.now("tried"))

    def _executed(self, entry: Entry, boot_id: str, at: float) -> bool:
        """Whether ``boot_id``'s is the latest execution that is known; one that began later becomes it."""
        if entry.now("executions") and entry.now("boot_id") == boot_id:
            return True
        began = entry.now("started_at")
        if entry.now("executions") and began is not None and instances.instant(at) < began:
            return False
        entry.changes |= {"boot_id": boot_id, "executions": entry.now("executions") + 1, "log_lines": 0}
        return True

    def _started(self, report: Report, event: protocol.StepStarted) -> None:
        entry = self._entry(report, event)
        if entry is None or entry.now("state") not in OPEN or self._is_past(entry, event):
            return
        if not self._executed(entry, event.boot_id, event.at):
            return
        begun: dict[str, Any] = {
            "instance_id": report.instance_id,
            "started_at": instances.instant(event.at),
            "seen_at": self._now,
        }
        if not entry.move(State.RUNNING, **begun):
            entry.changes |= begun

    def _finished(self, report: Report, event: protocol.StepFinished) -> None:
        """The first end that is heard of counts; later ones, of other attempts, find the step in a final state."""
        entry = self._entry(report, event)
        if entry is None or entry.now("state") not in OPEN or self._is_past(entry, event):
            return
        self._executed(entry, event.boot_id, event.started_at)
        self._attempts.append(self._ended(report, entry, event))
        again = retry_of(entry.step, event)
        if again is not None:
            tries = [*entry.step.tries, try_of(report.instance_id, entry, event)]
            entry.move(State.WAITING, **again, **_UNBEGUN, tries=tries)
            return
        entry.move(
            event.state,
            attempt=event.attempt,
            instance_id=report.instance_id,
            seen_at=self._now,
            started_at=instances.instant(event.started_at),
            finished_at=instances.instant(event.finished_at),
            exit_code=event.exit_code,
            signal=event.signal,
            reason=event.reason[:40],
            message=event.message,
            peak_memory_mb=event.peak_memory_mb,
            cpu_seconds=event.cpu_seconds,
            log_lines=max(entry.now("log_lines"), event.log.lines),
            log_bytes=event.log.bytes,
            log_truncated=event.log.truncated,
            log_key=own_key(event, event.log.key),
            outputs=[asdict(output) for output in event.outputs],
            outputs_truncated=event.outputs_truncated,
            image=event.image,
            bytes_in=event.bytes_in,
            bytes_out=event.bytes_out,
        )

    def _returned(self, report: Report, event: protocol.StepReturned) -> None:
        """What an instance had begun and left is paid; then it is to be seen whether it may be begun once more."""
        entry = self._entry(report, event)
        if entry is None or entry.now("state") not in {State.QUEUED, State.RUNNING}:
            return
        if entry.now("attempt") != event.attempt or entry.now("released_at") is None:
            return
        begun = {name: entry.now(name) for name in ("started_at", "instance_id")}
        last = {"execution": entry.now("executions"), "finished_at": entry.now("seen_at")}
        self._attempts.append(attempt_of(entry.step, **begun, **last))
        self._freed.add(report.workspace.pk)
        if event.attempt - entry.now("tried") >= MOST_RETURNS:
            message = "Instances went down several times while this ran."
            entry.move(State.LOST, finished_at=self._now, reason="given_up", message=message)
        else:
            again = {"state": State.QUEUED, "released_at": None, "started_at": None, "instance_id": "", "seen_at": None}
            entry.changes |= again

    def _ended(self, report: Report, entry: Entry, event: protocol.StepFinished) -> Attempt | None:
        return attempt_of(
            entry.step,
            attempt=event.attempt,
            execution=entry.now("executions"),
            instance_id=report.instance_id,
            started_at=instances.instant(event.started_at),
            finished_at=instances.instant(event.finished_at),
            bytes_in=event.bytes_in,
            bytes_out=event.bytes_out,
            bytes_fetched=event.bytes_fetched,
        )

    def _log(self, report: Report, event: protocol.StepLog) -> None:
        entry = self._entry(report, event)
        if entry is None or not event.lines:
            return
        last = event.first + len(event.lines) - 1
        if last > MOST_LOG_LINES:
            return
        if self._is_past(entry, event):
            for earlier in entry.now("tries"):
                if earlier["attempt"] == event.attempt:
                    self._keep(entry, earlier["execution"], event)
            return
        if entry.now("state") not in OPEN and entry.now("boot_id") != event.boot_id:
            return  # another execution's end has counted
        if not self._executed(entry, event.boot_id, event.at):
            return
        self._keep(entry, entry.now("executions"), event)
        entry.changes |= {"log_lines": max(entry.now("log_lines"), last), "seen_at": self._now}

    def _keep(self, entry: Entry, execution: int, event: protocol.StepLog) -> None:
        lines = [[line.stream, line.at, line.text] for line in event.lines]
        self._chunks.append(
            LogChunk(step=entry.step, execution=execution, first=event.first, count=len(lines), lines=lines)
        )

    def _instance_registered(self, report: Report, event: protocol.InstanceRegistered) -> None:
        instances.instance_registered(workspace=report.workspace, instance_id=report.instance_id, event=event)
        self._freed.add(report.workspace.pk)

    def _instance_stopping(self, report: Report, event: protocol.InstanceStopping) -> None:
        """Steps that a leaving agent gave back to the queue wait there again."""
        instances.instance_stopping(workspace=report.workspace, instance_id=report.instance_id, event=event)
        for step_id in event.returned:
            entry = self._entries.get(step_id)
            if entry is not None and entry.step.workspace_id == report.workspace.pk:
                begun = {name: entry.now(name) for name in ("started_at", "instance_id")}
                if entry.move(State.QUEUED, among=[State.RUNNING], started_at=None, instance_id=""):
                    at, execution = instances.instant(event.at), entry.now("executions")
                    self._attempts.append(attempt_of(entry.step, **begun, execution=execution, finished_at=at))

    def frees(self, workspace: Workspace) -> bool:
        """Whether an instance of the workspace has slots that nobody knew of, or something that it would not begin."""
        return workspace.pk in self._freed

    def write(self) -> dict[str, int]:
        """Write what has changed; how many steps of which workspaces have ended. Raises ``Overtaken``."""
        topics: list[str] = []
        settled: set[str] = set()
        ended: dict[str, int] = {}
        LogChunk.objects.bulk_create(self._chunks, ignore_conflicts=True)
        for step_id, entry in sorted(self._entries.items()):
            if not entry.changes:
                continue
            step = entry.step
            same = Step.objects.filter(pk=step_id, state=step.state, attempt=step.attempt, executions=step.executions)
            if not same.update(**entry.changes):
                raise Overtaken
            topics.append(f"run:{step.run_id}")
            state = entry.changes.get("state", step.state)
            if state == State.WAITING and step.state != State.WAITING:
                retry_when_due(step, entry.changes["retry_at"])
            if state != step.state or "released_at" in entry.changes:
                settled.add(step.run_id)
            if state != step.state:
                topics.append(f"owner:{entry.owner_id}")
                if state not in OPEN:
                    ended[step.workspace_id] = ended.get(step.workspace_id, 0) + 1
        attempts_tell(self._attempts)
        runs_settle(run_ids=sorted(settled))
        if topics:
            publish_on_commit(*topics)
        return ended
