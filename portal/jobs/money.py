"""What jobs know of money: the one place where `portal.usage` is asked for amounts, which are nano-dollars.

A job's budget is what its nodes may cost until they are there, and what its shards may cost: the first part is kept
back, `dispatch` keeps to the rest. Of a job that is tried again, what the runs before have cost counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import timezone

from portal.core.errors import Invalid
from portal.core.money import nano_of
from portal.pipelines.models import OPEN, Run, ScriptVersion, Step
from portal.usage import bounds, estimates, ledger, prices, reservations
from portal.usage import money as amounts
from portal.usage.selectors import Cost, run_cost
from portal.workspaces.models import Workspace

if TYPE_CHECKING:
    from portal.jobs.models import Job


def estimated(
    *,
    workspace: Workspace,
    shards: int,
    definition: Mapping[str, Any],
    nodes: int,
    version: ScriptVersion | None = None,
) -> tuple[int | None, int | None]:
    """What so many shards will probably cost, and can cost at most."""
    took = estimates.likely_seconds(workspace=workspace, script=version.script_id if version else "")
    seconds = min(took, float(definition["limits"]["seconds"]))
    found = estimates.estimate(workspace=workspace, shards=shards, seconds=seconds, nodes=nodes)
    tries = 1 + definition["retries"]["count"]
    most = shards * tries * attempt_most(workspace, definition) + _nodes_most(workspace, nodes)
    if definition["budget"] is not None:
        most = min(most, nano_of(definition["budget"]))
    return min(found.likely, most), most


def attempt_most(workspace: Workspace, definition: Mapping[str, Any]) -> int:
    """The most that one attempt at a shard can cost."""
    return bounds.most_of_attempt(workspace, definition["limits"], container=bool(definition["container"]))


def runs_of(run: Run) -> Iterator[Run]:
    """The run of a job, and those that it had before it was tried again; the newest first."""
    found: Run | None = run
    while found is not None:
        yield found
        found = found.again_of


def cost(job: Job) -> Cost:
    """What a job costs until now, all of its runs together: a budget is for all of them, too."""
    each = [run_cost(run) for run in runs_of(job.run)]
    return Cost(*(sum(getattr(one, part.name) for one in each) for part in fields(Cost)))


def _nodes_most(workspace: Workspace, nodes: int) -> int:
    """The most that so many nodes can cost until they are there."""
    rate = prices.instance_rate(workspace.cloud_account.region, workspace.instance_type, timezone.now())
    return int(nodes * settings.READY_WITHIN * rate)


def accepted(job: Job) -> None:
    """In the transaction that accepts a job: reserve its budget. Raises ``LimitReached``, ``Invalid`` (too little)."""
    if job.budget is None:
        reservations.budget_require(owner=job.owner)
        return
    start_up, one = _nodes_most(job.workspace, job.nodes), attempt_most(job.workspace, job.definition)
    left = job.budget - _spent_before(job.run) - start_up
    if left < one:
        message = (
            f"One shard can cost up to {amounts.shown(one)} by its limits, and starting the nodes up to "
            f"{amounts.shown(start_up)}: {amounts.shown(max(0, left + start_up))} is too little."
        )
        raise Invalid(message, code="budget_too_small", fields={"budget": message})
    _limit(job.run, limit=left, one=one)
    reservations.reserve(run=job.run, most=left + start_up)


def _spent_before(run: Run) -> int:
    """What the runs of the same job have cost that this one goes on after."""
    return sum(sum(ledger.costs_of([before.pk]).values()) for before in islice(runs_of(run), 1, None))


def split(job: Job) -> None:
    """In the transaction in which its shards are ready to begin: bound the run, reserve where there is no budget.

    Sets ``Run.cost_limit`` and ``Run.cost_of_step`` of the job's run, and the job's estimates. Raises
    ``LimitReached`` where it could cost more than is left.
    """
    run, shards = job.run, Step.objects.filter(run=job.run_id, state__in=OPEN).count()
    one = attempt_most(job.workspace, job.definition)
    if job.budget is None and ledger.is_bounded(run.owner):
        most = shards * (1 + job.definition["retries"]["count"]) * one
        reservations.reserve(run=run, most=most + _nodes_most(job.workspace, job.nodes))
        run.cost_limit = most
    _limit(run, limit=run.cost_limit, one=one)
    given = {"workspace": job.workspace, "definition": job.definition, "nodes": job.nodes, "version": job.version}
    job.estimate, job.estimate_most = estimated(shards=shards, **given)
    type(job).objects.filter(pk=job.pk).update(estimate=job.estimate, estimate_most=job.estimate_most)


def _limit(run: Run, *, limit: int | None, one: int) -> None:
    run.cost_limit, run.cost_of_step = limit, one
    Run.objects.filter(pk=run.pk).update(cost_limit=limit, cost_of_step=one)
