"""The shards of a job: steps of its run, made some at a time, and handed out only when all are there.

Until then the run's ``at_once`` is nothing. Whoever is killed in between is followed by somebody who goes on after the
last shard that is there; who has lost the claim can add none, because each lot is made with the claim in hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import Max

from portal.jobs import images, money, nodes
from portal.jobs.models import Job, Phase
from portal.jobs.phases import Lost, phase_enter, still_ours
from portal.jobs.searching import Watch, plan_of
from portal.jobs.splitting import Slice
from portal.pipelines.again import copied
from portal.pipelines.dispatch import release_soon
from portal.pipelines.models import OPEN, Run, State, Step

LOT = 500


def job_split(job: Job) -> None:
    """Make the shards that are missing, and let them begin. Raises ``CloudFault``, ``LimitReached``, ``Lost``."""
    watch = Watch(job)
    made = Step.objects.filter(run=job.run_id).aggregate(last=Max("position"))["last"] or 0
    earlier = _earlier(job)
    if earlier is not None:
        _retried(job, earlier, made, watch)
    else:
        plan = plan_of(job)
        container = images.container_of(job)
        for begin in range(made, len(plan), LOT):
            watch()
            lot = enumerate(plan[begin : begin + LOT], begin + 1)
            _added(job, [_shard(job, number, part, container) for number, part in lot])
    _begun(job)


def _earlier(job: Job) -> Run | None:
    """The run whose failed shards are tried again: the latest that had any."""
    run = job.run.again_of
    while run is not None and not run.steps.exists():
        run = run.again_of
    return run


def _retried(job: Job, earlier: Run, made: int, watch: Watch) -> None:
    """The shards of an earlier run: those that ended well count as done, the others wait."""
    container = images.container_of(job)
    while True:
        watch()
        rows = Step.objects.filter(run=earlier, superseded=False, position__gt=made).select_related("origin")
        lot = list(rows.order_by("position")[:LOT])
        if not lot:
            return
        _added(job, [_again(job, step, container) for step in lot])
        made = lot[-1].position


def _again(job: Job, step: Step, container: dict[str, Any]) -> Step:
    done = step.state == State.SUCCEEDED
    made = copied(step, job.run, done=done)
    made.rank, made.data = Step.Rank.SHARD, step.data
    made.container = step.container if done else container
    made.image = step.image if done else ""
    if not done:
        made.state = State.QUEUED
    made.lane = made.pk
    return made


def _added(job: Job, lot: Sequence[Step]) -> None:
    with transaction.atomic():
        still_ours(job)
        Step.objects.bulk_create(lot, batch_size=LOT)


def _shard(job: Job, number: int, part: Slice, container: dict[str, Any]) -> Step:
    definition = job.definition
    step = Step(
        run_id=job.run_id,
        workspace_id=job.workspace_id,
        version_id=job.version_id,
        position=number,
        name=f"shard {number}",
        key=f"shard-{number:05d}",
        rank=Step.Rank.SHARD,
        retries=definition["retries"],
        secrets=definition["secrets"],
        arguments=definition["arguments"],
        environment=_environment(job, number, part.items),
        limits=definition["limits"],
        data={
            "key": job.manifest_key,
            "offset": part.offset,
            "length": part.length,
            "items": part.items,
            **({"linked": True} if part.linked else {}),
        },
        container=container,
    )
    step.lane = step.pk  # a group of its own: what shares one is done one after the other
    return step


def _environment(job: Job, number: int, items: int) -> dict[str, str]:
    """What a shard finds in its environment: which it is, of how many, and how many items it has."""
    said = {"ORCA_SHARD": str(number), "ORCA_SHARDS": str(job.shards), "ORCA_ITEMS": str(items)}
    return {**job.definition["environment"], **said}


def _begun(job: Job) -> None:
    """All shards are there: let them begin."""
    with transaction.atomic():
        still_ours(job)
        money.split(job)
        target = Phase.STARTING if nodes.missing(job) else Phase.RUNNING
        message = "Its nodes are being started." if target == Phase.STARTING else ""
        if not phase_enter(job, target, message=message):
            raise Lost
        fields = {name: getattr(job.run, name) for name in ("cost_limit", "cost_of_step")}
        open_run = Run.objects.filter(pk=job.run_id, state__in=OPEN)
        if not open_run.update(held=False, at_once=nodes.at_once(job), **fields):
            raise Lost
        nodes.wanted_on_commit(job.workspace_id)
        release_soon([job.workspace_id])
