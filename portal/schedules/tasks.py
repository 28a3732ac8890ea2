"""Background work on schedules: each task calls one service. Unknown arguments are tolerated."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from celery import shared_task

from portal.schedules import firing


@shared_task
def schedules_fire(as_of: str = "", **_: Any) -> int:
    return firing.schedules_fire(as_of=datetime.fromisoformat(as_of) if as_of else None)


@shared_task
def schedules_check(**_: Any) -> int:
    return firing.schedules_check()


@shared_task
def fires_forget(**_: Any) -> int:
    return firing.fires_forget()
