"""Background work on schedules: each task calls one service. Unknown arguments are tolerated."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from portal.schedules import firing


@shared_task
def schedules_fire(**_: Any) -> int:
    return firing.schedules_fire()


@shared_task
def schedules_check(**_: Any) -> int:
    return firing.schedules_check()


@shared_task
def fires_forget(**_: Any) -> int:
    return firing.fires_forget()
