"""Handing work to the workers, once what it stands on can be seen by them."""

from __future__ import annotations

import logging

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)


def enqueue_on_commit(task: str, *arguments: str, seconds: float = 0.0) -> None:
    """Send a task by its name after the commit. A broker that does not answer loses nothing: a sweep finds the row."""
    transaction.on_commit(lambda: enqueue(task, *arguments, seconds=seconds))


def enqueue(task: str, *arguments: str, seconds: float = 0.0) -> None:
    """Send a task by its name now, to be done in so many ``seconds``."""
    try:
        current_app.send_task(task, args=arguments, countdown=seconds or None, retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("%s%s is left to the sweep, the broker does not answer: %s", task, arguments, error)
