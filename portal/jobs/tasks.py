"""Background work on jobs: each task takes an id and calls one service. Unknown arguments are tolerated."""

from __future__ import annotations

from typing import Any

from celery import shared_task


@shared_task
def job_work(job_id: str, **_: Any) -> None:
    """Search, split or gather, whatever the job is at."""
