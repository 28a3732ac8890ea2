"""Background work on runs: each task calls one service. Unknown arguments are tolerated."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from portal.pipelines import progress, sweeps


@shared_task
def outbox_sweep(**_: Any) -> int:
    return sweeps.tasks_sweep()


@shared_task
def runs_sweep(**_: Any) -> int:
    return sweeps.runs_sweep()


@shared_task
def run_go_on(run_id: str, **_: Any) -> None:
    progress.run_go_on(run_id=run_id)


@shared_task
def records_forget(**_: Any) -> int:
    return sweeps.records_forget()
