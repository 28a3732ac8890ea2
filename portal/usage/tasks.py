"""Background work on usage: each task calls one service. Unknown arguments are tolerated."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from portal.usage import guard


@shared_task
def budgets_sweep(**_: Any) -> int:
    return guard.budgets_sweep()
