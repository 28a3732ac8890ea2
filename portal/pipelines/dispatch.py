"""From the backlog in the database to the workspace's queue, as slots come free, through the outbox.

A queue is a hand-over, not a warehouse: in it, or in hand on an instance, are ``AHEAD`` times as many steps as there
are slots. Where steps end within a second, as many more go out as ended in the last one, so that none waits for the way
to and fro, and several go in one message.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import Count, F, Q
from django.utils import timezone

from agents.orca_agent import protocol
from portal.clouds.services import account_handle
from portal.core.errors import CloudFault
from portal.core.live import publish_on_commit
from portal.gateways import aws_queue, aws_storage
from portal.pipelines.attempts import attempt_of, attempts_tell
from portal.pipelines.elsewhere import avoided
from portal.pipelines.inputs import inputs_of
from portal.pipelines.models import OPEN, Outbox, Run, State, Step
from portal.pipelines.spending import is_bounded
from portal.workspaces.models import Instance, Workspace

logger = logging.getLogger(__name__)
_Thing = TypeVar("_Thing")
AHEAD = 2
MOST_AHEAD = 400
PACK = 10
PACK_BYTES = 24_000
CLAIM = timedelta(seconds=10)
SWEPT = 200
_DATA = ("key", "offset", "length", "items")


class Pace:
    """How many steps of each workspace have ended in the last second, as this process has seen it."""

    def __init__(self) -> None:
        self._ends: dict[str, deque[tuple[float, int]]] = {}

    def ended(self, workspace_id: str, count: int) -> None:
        """Note that so many have ended now."""
        if count:
            self._ends.setdefault(workspace_id, deque()).append((time.monotonic(), count))

    def of(self, workspace_id: str) -> int:
        """How many it is now."""
        ends = self._ends.get(workspace_id)
        if ends is None:
            return 0
        while ends and ends[0][0] < time.monotonic() - 1.0:
            ends.popleft()
        if not ends:
            del self._ends[workspace_id]
        return sum(count for _, count in ends)


pace = Pace()


_data_sources: list[Callable[[Step, int], dict[str, Any]]] = []


def contribute_data(source: Callable[[Step, int], dict[str, Any]]) -> None:
    """Let another app say where the items lie that an attempt is handed, for shards whose data is ``linked``."""
    _data_sources[:] = [source]


def _data_of(step: Step, attempt: int) -> dict[str, Any]:
    return _data_sources[0](step, attempt) if _data_sources else step.data


_gathered: ContextVar[set[str] | None] = ContextVar("gathered", default=None)


@contextmanager
def releases_gathered() -> Iterator[None]:
    """Within, nothing is handed out; at the end each workspace hands out once: for whoever changes many steps in a row.

    In a transaction it belongs to that, and spares the next step one of its own. Should this be killed meanwhile, or
    fail, the sweep hands out.
    """
    found: set[str] = set()
    token = _gathered.set(found)
    try:
        yield
    finally:
        _gathered.reset(token)
    for workspace in Workspace.objects.filter(pk__in=found).select_related("cloud_account"):
        try:
            steps_release(workspace=workspace)
        except Exception:
            logger.exception("nothing handed out in %s, the sweep will", workspace.pk)


def release_soon(workspace_ids: Iterable[str]) -> None:
    """Hand out what is queued in these workspaces: with the others that are gathered, else once all is committed."""
    wanted = set(workspace_ids)
    if (gathered := _gathered.get()) is not None:
        gathered |= wanted
        return
    for workspace_id in sorted(wanted):
        transaction.on_commit(partial(_release, workspace_id), robust=True)


def _release(workspace_id: str) -> None:
    steps_release(workspace=Workspace.objects.select_related("cloud_account").get(pk=workspace_id))


def steps_release(*, workspace: Workspace) -> int:
    """Hand steps from the backlog to the outbox, the oldest first, as far as the slots reach; how many.

    The messages are sent when the transaction is through; what cannot be sent then, the sweep sends.
    """
    if (gathered := _gathered.get()) is not None:
        gathered.add(workspace.pk)
        return 0
    with transaction.atomic():
        slots, instances = _slots(workspace)
        ended = pace.of(workspace.pk)
        quick = ended if ended > slots else 0
        room = _room(workspace, min(slots * AHEAD + quick, MOST_AHEAD)) if slots else 0
        if room <= 0:
            return 0
        rows = _released(workspace, room)
        if rows:
            # Packed only while steps are short: else they would wait for each other, with free slots elsewhere.
            most = min(PACK, -(-len(rows) // (2 * instances))) if quick else 1
            for pack in _packs(rows, most):
                for row in pack:
                    row.pack = pack[0].pk
            Outbox.objects.bulk_create(rows)
            transaction.on_commit(lambda: _send_quietly(rows), robust=True)
        return len(rows)


def _slots(workspace: Workspace) -> tuple[int, int]:
    """The slots of the instances that are up, and how many those are."""
    if workspace.state not in {Workspace.State.READY, Workspace.State.DEGRADED}:
        return 0, 0
    up = list(workspace.instances.filter(state=Instance.State.RUNNING).values_list("slots", flat=True))
    return sum(up), len(up)


def _room(workspace: Workspace, most: int) -> int:
    out = Step.objects.filter(workspace=workspace, state__in=OPEN, released_at__isnull=False)
    return most - out.count()


def _released(workspace: Workspace, room: int) -> list[Outbox]:
    """The oldest of the backlog, taken out of it, and their messages, not saved yet, claimed for sending."""
    steps, now = _oldest(workspace, room), timezone.now()
    if not steps:
        return []
    ids = [step.pk for step in steps]
    free = Step.objects.filter(pk__in=ids, state=State.QUEUED, released_at=None, cancel_requested_at=None)
    if free.update(released_at=now, attempt=F("attempt") + 1, seen_at=now) != len(ids):
        # A rival took some of them: ours are those that bear our time.
        ours = set(Step.objects.filter(pk__in=ids, released_at=now).values_list("pk", flat=True))
        steps = [step for step in steps if step.pk in ours]
    rows = []
    for step in steps:
        step.attempt, step.released_at, step.seen_at, step.workspace = step.attempt + 1, now, now, workspace
        rows.append(Outbox(workspace=workspace, step=step, attempt=step.attempt, claimed_until=now + CLAIM, tries=1))
    return rows


def _oldest(workspace: Workspace, room: int) -> list[Step]:
    """The first steps of the backlog that fit into ``room`` and into the bounds of their runs."""
    backlog = (
        Step.objects.filter(workspace=workspace, state=State.QUEUED, released_at=None, cancel_requested_at=None)
        .select_related("version", "run")
        .order_by("rank", "created_at", "id")
    )
    bounds = _bounds(workspace)
    steps: list[Step] = []
    for run_id, bound in bounds.items():
        steps += backlog.filter(run=run_id)[: min(bound, room)]
    # Shards are of bounded runs always: a long backlog of them is not looked through for others.
    steps += backlog.filter(rank=Step.Rank.RUN).exclude(run__in=list(bounds))[:room] if bounds else backlog[:room]
    return sorted(steps, key=lambda step: (step.rank, step.created_at, step.pk))[:room]


def _bounds(workspace: Workspace) -> dict[str, int]:
    """How many more steps may go out of each run that is bounded; no rival hands out of these meanwhile."""
    open_ones = Run.objects.filter(workspace=workspace, at_once__isnull=False, state__in=OPEN)
    runs = list(
        open_ones.order_by("created_at", "id")
        .select_for_update()
        .only("at_once", "cost_limit", "cost_of_step", "cost_spent")
    )
    if not runs:
        return {}
    # Counted only now that the runs are held: a rival may have just handed out of them.
    out_now = Step.objects.filter(workspace=workspace, state__in=OPEN, released_at__isnull=False)
    out = dict(out_now.order_by().values_list("run").annotate(count=Count("pk")))
    bounds = {}
    for run in runs:
        most = run.at_once or 0
        if run.cost_limit is not None and run.cost_of_step:
            most = min(most, (run.cost_limit - run.cost_spent) // run.cost_of_step)
        bounds[run.pk] = max(0, most - out.get(run.pk, 0))
    return bounds


def _send_quietly(rows: Sequence[Outbox]) -> None:
    try:
        _send(rows)
    except CloudFault as error:
        logger.warning("%d tasks not sent yet, the sweep will: %s", len(rows), error.message)


def outbox_send(*, outbox_ids: Sequence[str]) -> int:
    """Send these messages; how many were accepted. Another sender's are left to it. Raises ``CloudFault``."""
    now = timezone.now()
    free = Q(claimed_until=None) | Q(claimed_until__lt=now)
    claimed = [
        pk
        for pk in outbox_ids
        if Outbox.objects.filter(free, pk=pk, sent_at=None).update(claimed_until=now + CLAIM, tries=F("tries") + 1)
    ]
    rows = Outbox.objects.filter(pk__in=claimed).select_related(
        "workspace__cloud_account", "step__version", "step__run"
    )
    by_workspace: dict[str, list[Outbox]] = {}
    for row in rows.order_by("created_at", "id"):
        by_workspace.setdefault(row.workspace_id, []).append(row)
    sent, fault = 0, None
    for group in by_workspace.values():
        try:
            sent += _send(group)
        except CloudFault as error:
            fault = error
    if fault is not None:
        raise fault
    return sent


def _send(rows: Sequence[Outbox]) -> int:
    """Send claimed messages of one workspace, those of a pack in one; how many steps were accepted.

    A pack stays one when it is sent again, because nobody knew whether it had arrived: so the queue knows it again.
    """
    workspace = rows[0].workspace
    accepted: list[str] = []
    try:
        account = account_handle(workspace.cloud_account)
        for sha256 in dict.fromkeys(row.step.version.sha256 for row in rows):
            aws_storage.bundle_deliver(account, workspace.bucket, sha256)
        packs: dict[str, list[tuple[Outbox, protocol.Task]]] = {}
        for row, task in _with_tasks(rows):
            packs.setdefault(row.pack, []).append((row, task))
        messages = [_message(reference, pack) for reference, pack in packs.items()]
        for some in _filled(messages, aws_queue.BATCH, aws_queue.BATCH_BYTES, lambda m: len(m.body.encode())):
            for reference in aws_queue.send(account, workspace.tasks_queue, some):
                accepted += [row.pk for row, _ in packs[reference]]
    except CloudFault as error:
        left = [row.pk for row in rows if row.pk not in accepted]
        Outbox.objects.filter(pk__in=left).update(error=error.message[:300], claimed_until=None)
        raise
    finally:
        if accepted:
            Outbox.objects.filter(pk__in=accepted).update(sent_at=timezone.now(), error="", claimed_until=None)
    if refused := [row.pk for row in rows if row.pk not in accepted]:
        Outbox.objects.filter(pk__in=refused).update(error="refused by the queue", claimed_until=None)
    return len(accepted)


def _with_tasks(rows: Sequence[Outbox]) -> Iterator[tuple[Outbox, protocol.Task]]:
    """Those whose inputs can be named now. What one of them cannot be given does not hold up the others."""
    avoid = avoided(rows[0].workspace, rows)
    for row in rows:
        try:
            given = inputs_of(row.step, row.attempt) if row.step.inputs else ()
            if row.step.data.get("linked"):
                row.step.data = _data_of(row.step, row.attempt)
        except CloudFault as error:
            logger.warning("inputs of step %s: %s", row.step_id, error.message)
            continue
        yield row, task_of(row.step, row.attempt, given, avoid.get(row.step_id, ()))


def _packs(rows: Iterable[Outbox], most: int) -> Iterator[list[Outbox]]:
    """What goes together.

    A step that is handed out again goes alone: it may be what its agent died of. So does the second of two that do the
    same: an instance that should not have it gives back all that comes with it.
    """
    for alone, some in groupby(rows, key=lambda row: row.attempt > 1 or row.step.superseded):
        yield from _filled(some, 1 if alone else most, PACK_BYTES, _weight)


def _weight(row: Outbox) -> int:
    """About how many bytes a step takes in a message."""
    return 600 + len(str(row.step.arguments)) + len(str(row.step.environment))


def _filled(
    things: Iterable[_Thing], most: int, most_bytes: int, weight: Callable[[_Thing], int]
) -> Iterator[list[_Thing]]:
    """The things in their order, as many at a time as fit into ``most_bytes``, ``most`` at most and one at least."""
    some: list[_Thing] = []
    size = 0
    for thing in things:
        more = weight(thing)
        if some and (len(some) >= most or size + more > most_bytes):
            yield some
            some, size = [], 0
        some.append(thing)
        size += more
    if some:
        yield some


def _message(reference: str, pack: Sequence[tuple[Outbox, protocol.Task]]) -> aws_queue.Outgoing:
    first = pack[0][0].step
    return aws_queue.Outgoing(
        reference=reference,
        body=protocol.tasks_body([task for _, task in pack]),
        group=(first.lane or first.run_id) if len(pack) == 1 else reference,
        deduplication=reference,
    )


def task_of(
    step: Step, attempt: int, inputs: tuple[protocol.Input, ...] = (), avoid: tuple[str, ...] = ()
) -> protocol.Task:
    """The message that tells an agent to do a step; those of the instances ``avoid`` leave it to others."""
    version = step.version
    return protocol.Task(
        workspace=step.workspace_id,
        run=step.run_id,
        step=step.pk,
        attempt=attempt,
        name=step.name,
        script=protocol.Script(
            key=f"scripts/{version.sha256}.zip",
            sha256=version.sha256,
            entrypoint=version.entrypoint,
            runtime=version.runtime,
            requirements=version.requirements or None,
        ),
        arguments=tuple(step.arguments),
        environment=step.environment,
        limits=protocol.Limits(**step.limits),
        inputs=inputs,
        secret_names=tuple(step.secrets),
        data=protocol.Data(**{name: step.data[name] for name in _DATA}) if step.data else None,
        container=protocol.Container(**step.container) if step.container else None,
        avoid=avoid,
        once=is_bounded(step.run),
    )


def outbox_sweep() -> int:
    """Send what could not be sent when it was written; how many. A workspace that is gone gets nothing any more."""
    due = Outbox.objects.filter(Q(claimed_until=None) | Q(claimed_until__lt=timezone.now()), sent_at=None)
    due.exclude(step__state__in=OPEN).delete()
    ids = (
        due.filter(workspace__state__in=[*Workspace.ALIVE]).order_by("created_at").values_list("pk", flat=True)[:SWEPT]
    )
    try:
        return outbox_send(outbox_ids=list(ids))
    except CloudFault as error:
        logger.warning("outbox: %s", error.message)
        return 0


def step_return(*, step: Step) -> bool:
    """Put a released step back into the backlog, to be handed out anew."""
    attempt = attempt_of(step)
    again = Step.objects.filter(pk=step.pk, state__in=[State.QUEUED, State.RUNNING], attempt=step.attempt)
    with transaction.atomic():
        if not again.update(state=State.QUEUED, released_at=None, started_at=None, instance_id="", seen_at=None):
            return False
        attempts_tell([attempt])
        publish_on_commit(f"run:{step.run_id}")
    return True
