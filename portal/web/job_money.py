"""What pages say of the cost of a job: from `portal.usage` where that is installed, else from the run itself."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from django.apps import apps

from portal.jobs.models import Job


@dataclass(frozen=True)
class Cost:
    """Nano-dollars: what it costs so far, of that for computing, the start of its nodes, storage and traffic."""

    total: int
    compute: int = 0
    start_up: int = 0
    storage: int = 0
    egress: int = 0


def cost_of(job: Job) -> Cost | None:
    """What a job costs so far; nothing where nobody counts."""
    if not apps.is_installed("portal.usage"):
        return Cost(job.run.cost_spent, compute=job.run.cost_spent) if job.run.cost_spent else None
    found = import_module("portal.usage.selectors").run_cost(job.run)
    return Cost(found.total, found.compute, found.start_up, found.storage, found.egress)
