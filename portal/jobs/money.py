"""What jobs know of money: the one place where `portal.usage` is asked. Amounts are nano-dollars."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from portal.usage.bounds import most_of_step
from portal.usage.estimates import estimate, likely_seconds
from portal.workspaces.models import Workspace

if TYPE_CHECKING:
    from portal.jobs.models import Job

NANO = 1_000_000_000


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
    *, workspace: Workspace, shards: int, definition: Mapping[str, Any], nodes: int
) -> tuple[int | None, int | None]:
    """What so many shards will probably cost, and can cost at most; None where that is not known."""
    limits = definition["limits"]
    took = likely_seconds(workspace=workspace, script=str(definition.get("script") or ""))
    found = estimate(
        workspace=workspace,
        shards=shards,
        seconds=min(took, limits["seconds"]),
        nodes=nodes,
        most_of_shard=most_of_step(workspace, limits, definition["retries"]),
    )
    return found.likely, found.most


def accepted(job: Job) -> None:
    """In the transaction that accepts a job: reserve its budget. Raises ``LimitReached``."""


def split(job: Job) -> None:
    """In the transaction in which its shards are ready to begin: bound the run, reserve where there is no budget.

    Sets ``Run.cost_limit`` and ``Run.cost_of_step`` of the job's run, and the job's ``estimate``. Raises
    ``LimitReached`` where it would cost more than is left.
    """
    if job.budget is not None:
        job.run.cost_limit = job.budget


def ended(job: Job) -> None:
    """In the transaction in which its run has ended: settle what was reserved."""
