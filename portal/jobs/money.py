"""What jobs know of money: the one place where `portal.usage` is asked. Amounts are nano-dollars."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from statistics import median
from typing import TYPE_CHECKING, Any

from portal.core.errors import Invalid, LimitReached
from portal.pipelines.models import Run, ScriptVersion, State, Step
from portal.usage import reservations
from portal.usage.bounds import most_of_step
from portal.usage.estimates import estimate
from portal.usage.money import shown
from portal.workspaces.models import Workspace

if TYPE_CHECKING:
    from portal.jobs.models import Job

NANO = 1_000_000_000
_JUDGED_BY = 200
_MOST_RUNS = 100


def nano(dollars: str) -> int:
    """``1.50`` in nano-dollars."""
    return int(Decimal(dollars) * NANO)


def dollars(amount: int | None) -> str | None:
    """An amount as text: dollars with cents, and finer where it is less than that."""
    if amount is None:
        return None
    value = Decimal(amount) / NANO
    return f"{value:.2f}" if value >= 1 or value == 0 else f"{value:.6f}"


def estimated(
    *, workspace: Workspace, version: ScriptVersion, definition: Mapping[str, Any], items: int, shards: int
) -> tuple[int | None, int | None]:
    """What so many shards will probably cost, and can cost at most. The first is known when the script has run before.

    Nodes that are there anyway are not counted.
    """
    if not shards:
        return None, None
    limit = float(definition["limits"]["seconds"])
    usual = _usual_seconds(version, items / shards)
    found = estimate(
        workspace=workspace,
        shards=shards,
        seconds=limit if usual is None else min(usual, limit),
        nodes=max(0, definition["nodes"] - workspace.instance_count),
        most_seconds=limit,
        tries=1 + int(definition["retries"]["count"]),
    )
    return None if usual is None else found.likely, found.most


def _usual_seconds(version: ScriptVersion, items: float) -> float | None:
    """How long this script took for so many items lately; None where it never ran."""
    steps = Step.objects.filter(version__script=version.script_id, state=State.SUCCEEDED, origin=None)
    rows = steps.order_by("-created_at").values_list("rank", "data", "started_at", "finished_at")[:_JUDGED_BY]
    known = [
        (end - begin).total_seconds() / (data["items"] / items if rank == Step.Rank.SHARD and data.get("items") else 1)
        for rank, data, begin, end in rows
        if begin and end
    ]
    return median(known) if known else None


def accepted(job: Job) -> None:
    """In the transaction that accepts a job, or tries it again: bound its run, and set its budget aside.

    Raises ``Invalid`` where not even one shard fits into the budget, ``LimitReached``.
    """
    if job.budget is None:
        reservations.budget_require(owner=job.owner)
        return
    run, least = job.run, _of_attempt(job)
    left = job.budget - _spent_before(run)
    if least > left:
        raise _too_little(job, least, left)
    run.cost_limit, run.cost_of_step = left, least
    run.save(update_fields=["cost_limit", "cost_of_step"])
    reservations.reserve(run=run, most=left)


def _of_attempt(job: Job) -> int:
    """The most that one try at a shard can cost."""
    return most_of_step(job.workspace, job.definition["limits"], {})


def _spent_before(run: Run) -> int:
    """What the runs have cost that this one tries again."""
    spent, seen = 0, 0
    before = run.again_of
    while before is not None and seen < _MOST_RUNS:
        spent, seen, before = spent + before.cost_spent, seen + 1, before.again_of
    return spent


def _too_little(job: Job, least: int, left: int) -> Invalid | LimitReached:
    hint = "Lower the limits of its shards (seconds, output_mb), or raise the budget."
    why = f"One shard alone can cost {shown(least)} with these limits."
    if job.run.again_of_id is None:
        return Invalid(f"The budget is too small. {why}", code="bad_job", hint=hint, fields={"budget": why})
    return LimitReached(f"Of the job's budget {shown(max(0, left))} is left. {why}", code="budget_reached", hint=hint)


def split(job: Job) -> None:
    """In the transaction in which its shards are ready to begin: estimate it, and set money aside where nobody has yet.

    Raises ``LimitReached`` where it could cost more than its owner has left.
    """
    likely, most = estimated(
        workspace=job.workspace, version=job.version, definition=job.definition, items=job.items, shards=job.shards
    )
    job.estimate, job.estimate_most = likely, most
    job.save(update_fields=["estimate", "estimate_most"])
    job.run.cost_of_step = _of_attempt(job)
    if job.budget is None:
        tries = 1 + int(job.definition["retries"]["count"])
        reservations.reserve(run=job.run, most=job.shards * tries * job.run.cost_of_step)


def ended(job: Job) -> None:
    """In the transaction in which its run has ended. What was set aside is settled by `portal.usage` itself."""
