"""Background work on notices: each task calls one service. Unknown arguments are tolerated."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from portal.notices import outbox, sending


@shared_task
def notices_send(**_: Any) -> int:
    return sending.notices_send()


@shared_task
def absences_note(**_: Any) -> int:
    return outbox.absences_note()


@shared_task
def notices_forget(**_: Any) -> int:
    return sending.notices_forget()
