"""Shards that take much longer than the others are done a second time, elsewhere; whichever ends well first counts.

A shard and its twin share their position. One of the two is ``superseded`` at any time and does not count for the run:
at first the twin; the shard, as soon as its twin has ended well, or goes on alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from statistics import median

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Q
from django.utils import timezone

from portal.core.live import publish_on_commit
from portal.core.states import move
from portal.jobs.models import WORKING, Job
from portal.pipelines.again import copied
from portal.pipelines.dispatch import release_soon
from portal.pipelines.models import FINAL, OPEN, TRANSITIONS, State, Step
from portal.workspaces.control import control_changed

TIMES = 3
_JUDGED_BY = 500
_AT_ONCE = 100
_ILL = FINAL - {State.SUCCEEDED}


def stragglers_sweep() -> int:
    """Begin the twins of shards that take too long; how many."""
    return sum(_twins_added(job) for job in Job.objects.filter(phase__in=WORKING, run__state__in=OPEN))


def _twins_added(job: Job) -> int:
    limit = _limit(job)
    if limit is None:
        return 0
    now = timezone.now()
    shards = Step.objects.filter(run=job.run_id)
    slow = shards.filter(state=State.RUNNING, superseded=False, started_at__lt=now - limit, cancel_requested_at=None)
    doubled = shards.values("position").annotate(count=Count("pk")).filter(count__gt=1).values("position")
    added = 0
    for step in slow.exclude(position__in=doubled).order_by("position")[:_AT_ONCE]:
        added += _twin_added(job, step)
    return added


def _limit(job: Job) -> timedelta | None:
    """How long a shard may take until it has a twin; None while too few have ended to judge."""
    well = Step.objects.filter(run=job.run_id, superseded=False, state=State.SUCCEEDED, origin=None)
    if 2 * well.count() < job.shards:
        return None
    times = well.order_by("-finished_at").values_list("started_at", "finished_at")[:_JUDGED_BY]
    seconds = [(finished - started).total_seconds() for started, finished in times if started and finished]
    return timedelta(seconds=max(settings.SHARD_SLOW_AFTER, TIMES * median(seconds))) if seconds else None


def _twin_added(job: Job, step: Step) -> bool:
    with transaction.atomic():
        # One twin of each: rivals meet at the job's row.
        Job.objects.filter(pk=job.pk).update(twins=F("twins") + 1)
        if Step.objects.filter(run=job.run_id, position=step.position).count() > 1:
            return False
        twin = copied(step, step.run, done=False)
        twin.state, twin.rank, twin.superseded = State.QUEUED, Step.Rank.SHARD, True
        twin.data, twin.container, twin.lane = step.data, step.container, twin.pk
        twin.retries = {**step.retries, "count": 0}
        twin.name = f"{step.name} again"[:120]
        twin.save()
        publish_on_commit(f"run:{job.run_id}")
        release_soon([job.workspace_id])
    return True


def twins_settle(jobs: Iterable[Job]) -> None:
    """Of each shard and its twin have the one count that should, and stop the other where it is not needed."""
    for job in jobs:
        if not job.twins:
            continue
        shards = Step.objects.filter(run=job.run_id)
        doubled = list(shards.filter(superseded=True).values_list("position", flat=True))
        pairs: dict[int, list[Step]] = {}
        shown = ("run_id", "workspace_id", "position", "state", "superseded", "released_at", "cancel_requested_at")
        for step in shards.filter(position__in=doubled).only(*shown):
            pairs.setdefault(step.position, []).append(step)
        for pair in pairs.values():
            _pair_settle(pair)


def _pair_settle(pair: list[Step]) -> None:
    counts = next((step for step in pair if not step.superseded), None)
    other = next((step for step in pair if step.superseded), None)
    if counts is None or other is None:
        return
    won = other.state == State.SUCCEEDED and counts.state != State.SUCCEEDED
    alone = counts.state in _ILL and other.state in OPEN and counts.cancel_requested_at is None
    if won or alone:
        Step.objects.filter(pk=counts.pk).update(superseded=True)
        Step.objects.filter(pk=other.pk).update(superseded=False)
        counts, other = other, counts
    if counts.state == State.SUCCEEDED and other.state in OPEN and other.cancel_requested_at is None:
        _stopped(other)


def _stopped(step: Step) -> None:
    now = timezone.now()
    waiting = Step.objects.filter(pk=step.pk, released_at=None)
    why = "Another has done the same already."
    if move(waiting, TRANSITIONS, State.CANCELLED, finished_at=now, retry_at=None, reason="superseded", message=why):
        return
    if Step.objects.filter(Q(state__in=OPEN), pk=step.pk).update(cancel_requested_at=now):
        control_changed([step.workspace_id])
