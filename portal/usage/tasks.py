"""Background work on usage: each task calls one service. Unknown arguments are tolerated."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from portal.usage import facts, guard, settling, storage, traffic


@shared_task
def facts_observe(**_: Any) -> int:
    return facts.facts_observe()


@shared_task
def spans_settle(**_: Any) -> int:
    return settling.spans_settle()


@shared_task
def storage_measure(**_: Any) -> int:
    return storage.storage_measure()


@shared_task
def traffic_measure(**_: Any) -> int:
    return traffic.traffic_measure()


@shared_task
def budgets_sweep(**_: Any) -> int:
    return guard.budgets_sweep()
