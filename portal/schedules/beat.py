"""Celery beat for Orca: django-celery-beat's scheduler, which one beat of several drives, and which asks for schedules
to be fired at the very moment that they are due.

Orca's own sweeps are ``PeriodicTask`` rows as ever. Schedules of people are not: they are ``Schedule`` rows, of which
beat only asks when the next is due. See ``docs/decisions/011-schedules.md``.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, IntegrityError, InterfaceError, close_old_connections
from django.db.models import Min, Q
from django.utils import timezone
from django_celery_beat.schedulers import DatabaseScheduler
from kombu.exceptions import OperationalError as BrokerError

from portal.core.ids import new_id
from portal.schedules.models import Lease, Schedule

logger = logging.getLogger(__name__)
LEASE = timedelta(seconds=5)
_NAME = "beat"
_RENEWED_EVERY = 1.5
# What was asked for is asked for again, should the message have been lost.
_ASKED_AGAIN = 5.0
_EXPIRES = 60
_LOOKS = 1.0
_LOOKS_SOON = 0.25
FIRE = "portal.schedules.tasks.schedules_fire"


class Tenure:
    """A lease in the database: whoever holds it works, the others stand by and look whether it has run out."""

    def __init__(self, holder: str) -> None:
        self.holder = holder
        self._renewed = float("-inf")

    def held(self) -> bool:
        """Whether it is ours now; takes it where it is free."""
        if time.monotonic() - self._renewed < _RENEWED_EVERY:
            return True
        began, now = time.monotonic(), timezone.now()
        # A lease that ends later than any can was made by a clock that was ahead.
        free = Q(holder=self.holder) | Q(until__lt=now) | Q(until__gt=now + 2 * LEASE)
        mine = Lease.objects.filter(free, name=_NAME).update(holder=self.holder, until=now + LEASE) or self._made(now)
        if not mine:
            self._renewed = float("-inf")
            return False
        self._renewed = began
        return True

    def _made(self, now: datetime) -> int:
        if Lease.objects.filter(name=_NAME).exists():
            return 0
        try:
            Lease.objects.create(name=_NAME, holder=self.holder, until=now + LEASE)
        except IntegrityError:
            return 0
        return 1

    def give_up(self) -> None:
        """Let the next one begin at once."""
        Lease.objects.filter(name=_NAME, holder=self.holder).delete()
        self._renewed = float("-inf")


class Scheduler(DatabaseScheduler):  # type: ignore[misc]  # django-celery-beat has no types
    """See the module."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.tenure = Tenure(f"{socket.gethostname()[:60]}:{os.getpid()}:{new_id()}")
        self._asked: tuple[datetime, float] | None = None
        self._busy_since: datetime | None = None
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """One round; the seconds until the next. A database that does not answer is no reason to end."""
        try:
            close_old_connections()
            if not self.tenure.held():
                return _LOOKS
            wait = self._ask()
        except (DatabaseError, InterfaceError):
            logger.exception("beat cannot reach the database")
            return _LOOKS
        rest = float(super().tick(*args, **kwargs))
        return min(max(rest, 0.0), wait)

    def _ask(self) -> float:
        """Have what is due fired; the seconds until the next one is, a second at most: it may be made meanwhile."""
        next_at = Schedule.objects.filter(enabled=True).aggregate(Min("next_at"))["next_at__min"]
        now = timezone.now()
        if next_at is None or next_at > now:
            self._busy_since = None
            return _LOOKS if next_at is None else min((next_at - now).total_seconds(), _LOOKS)
        self._busy_since = self._busy_since or now
        if self._asked is None or self._asked[0] != next_at or time.monotonic() - self._asked[1] > _ASKED_AGAIN:
            self._asked = (next_at, time.monotonic())
            try:
                self.app.send_task(FIRE, kwargs={"as_of": self._busy_since.isoformat()}, expires=_EXPIRES, retry=False)
            except (BrokerError, OSError) as error:
                self._asked = None
                logger.warning("the broker does not answer: %s", error)
        return _LOOKS_SOON

    def close(self) -> None:
        """End, and let another begin at once."""
        super().close()
        try:
            self.tenure.give_up()
        except (DatabaseError, InterfaceError):
            logger.warning("the lease could not be given back; it runs out in %d s", LEASE.seconds)
