"""What becomes of schedules when they are due.

Any number of processes may do this at the same time, and may be killed at any point: a slot belongs to whoever moves
``next_at`` on from it, which is a conditional UPDATE in the transaction that also starts the run and writes the
``Fire``. A second ``Fire`` of the same slot cannot be written at all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Count, Q
from django.utils import timezone

from portal.core.errors import OrcaError
from portal.core.live import publish_on_commit
from portal.pipelines import dispatch
from portal.pipelines.models import OPEN
from portal.schedules.events import slot_not_run
from portal.schedules.models import Fire, Schedule
from portal.schedules.services import schedule_disable
from portal.schedules.targets import Newest, gone, start
from portal.schedules.times import BadTime, Rule, passed
from portal.schedules.timing import timing_of
from portal.workspaces.models import Workspace

logger = logging.getLogger(__name__)
BATCH = 25
# Between two batches others come to write: SQLite lets in whoever happens to ask just then.
_PAUSE = 0.01
_HELD = 10.0
# What is late by less was not missed: a beat or a worker was started anew.
LATE = timedelta(seconds=60)
# Workers that are away for longer than this have missed what was due meanwhile, even if beat has asked for it.
_MOST_BEHIND = timedelta(minutes=10)
# A schedule whose earlier runs do not end starts no more of them than this.
MOST_OPEN = 10
FIRES_KEPT = timedelta(days=90)
_State = Fire.State
_AWAY = "Orca was not running then."


def schedules_fire(*, as_of: datetime | None = None) -> int:
    """Fire every slot that is due, until none is; how many. A batch is one transaction.

    ``as_of``: when beat began to ask for them. What was not late then is not missed, however long its turn takes.
    What was started is handed out when all of it is, or after ``_HELD`` seconds: else it would take from the very first
    the processor that the others need to be fired.
    """
    fired, due = 0, True
    while due:
        until = time.monotonic() + _HELD
        with dispatch.releases_gathered():
            while due and time.monotonic() < until:
                count = _batch_fire(as_of)
                fired, due = fired + count, count > 0
                time.sleep(_PAUSE if due else 0)
    return fired


def _batch_fire(as_of: datetime | None) -> int:
    with transaction.atomic():
        now = timezone.now()
        as_of = min(max(as_of or now, now - _MOST_BEHIND), now)
        due = Schedule.objects.filter(enabled=True, next_at__lte=now).order_by("next_at", "id")
        # What a rival has locked is being fired: where the database can, the others take the next ones meanwhile.
        ids = list(due.select_for_update(skip_locked=True).values_list("pk", flat=True)[:BATCH])
        if not ids:
            return 0
        found = Schedule.objects.select_related("owner", "pipeline", "script", "workspace__cloud_account").in_bulk(ids)
        batch = _Batch([found[pk] for pk in ids], now, as_of)
        batch.fire()
        return len(ids)


class _Batch:
    """Schedules that are due, locked by the transaction that this is in."""

    def __init__(self, schedules: Collection[Schedule], now: datetime, as_of: datetime) -> None:
        self.schedules = schedules
        self.now = now
        self.as_of = as_of
        self.fires: list[Fire] = []
        self._newest = Newest()
        slots = [schedule.next_at or now for schedule in schedules]
        before = Fire.objects.filter(schedule__in=schedules, due_at__gte=min(slots))
        self._before = set(before.values_list("schedule", "due_at"))
        still = Fire.objects.filter(schedule__in=schedules, run__state__in=OPEN).order_by()
        self._open: dict[str, int] = dict(still.values_list("schedule").annotate(Count("pk")))

    def fire(self) -> None:
        """Deal with the next slot of each, write down what came of it, and tell whoever wants to know."""
        for schedule in self.schedules:
            if schedule.next_at is not None:
                self._slot(schedule, schedule.next_at)
        Fire.objects.bulk_create(self.fires)
        for fire in self.fires:
            fire.schedule.last_fire = fire
        Schedule.objects.bulk_update({fire.schedule for fire in self.fires}, ["last_fire"])
        for fire in self.fires:
            if fire.state != _State.FIRED:
                _tell(fire)
        publish_on_commit(*(f"schedule:{schedule.pk}" for schedule in self.schedules))
        publish_on_commit(*{f"owner:{schedule.owner_id}" for schedule in self.schedules})

    def _slot(self, schedule: Schedule, slot: datetime) -> None:
        try:
            rule = timing_of(schedule).rule()
        except BadTime as error:  # a zone that the world has given up
            self._end(schedule, slot, "bad_schedule", str(error))
            return
        if why := gone(schedule):
            self._end(schedule, slot, "target_gone", why)
        elif self.as_of - slot > LATE:
            self._missed(schedule, rule, slot)
        elif _taken(schedule, slot, last=slot, next_at=rule.after(slot)):
            self._start(schedule, slot)

    def _end(self, schedule: Schedule, slot: datetime, code: str, why: str) -> None:
        schedule_disable(schedule=schedule, by=None, reason=why)
        self._note(schedule, slot, _State.FAILED, code=code, why=why)

    def _missed(self, schedule: Schedule, rule: Rule, slot: datetime) -> None:
        """Note the slots that nobody was there for. With ``run_once``, the last of them is made up for, unless the next
        is due already."""
        gone_by = passed(rule, slot, self.as_of - LATE)
        next_at = rule.after(gone_by.last)
        if not _taken(schedule, slot, last=gone_by.last, next_at=next_at):
            return
        made_up = schedule.missed == Schedule.Missed.RUN_ONCE and (next_at is None or next_at > self.now)
        if made_up and gone_by.count == 1:
            self._start(schedule, slot, why=f"{_AWAY} Made up for.")
            return
        several = {"until": gone_by.last, "slots": gone_by.count} if gone_by.count > 1 else {}
        self._note(schedule, slot, _State.MISSED, code="missed", why=_AWAY, **several)
        if made_up:
            self._start(schedule, gone_by.last, why=f"{_AWAY} One run for all that was missed.")

    def _start(self, schedule: Schedule, slot: datetime, *, why: str = "") -> None:
        """Start what a slot that is ours is for."""
        if (schedule.pk, slot) in self._before:
            return
        if (still := self._open.get(schedule.pk, 0)) >= MOST_OPEN:
            why = f"{still} earlier runs of this schedule have not ended yet."
            self._note(schedule, slot, _State.REFUSED, code="too_many_open", why=why)
            return
        try:
            with transaction.atomic():
                started = start(schedule, due_at=slot, newest=self._newest)
        except (OperationalError, InterfaceError):
            raise  # the database is busy or gone: the whole batch is taken back, and done again
        except OrcaError as error:
            why = " ".join(filter(None, [error.message, *error.fields.values()]))
            self._note(schedule, slot, _State.REFUSED, code=error.code, why=why)
        except Exception:  # one that nobody foresaw must not keep all others from being fired
            logger.exception("schedule %s could not be fired", schedule.pk)
            why = "That is a fault of ours; it is in Orca's log."
            self._note(schedule, slot, _State.FAILED, code="fault", why=why)
        else:
            self._note(schedule, slot, _State.FIRED, why=started.why or why, run=started.run)

    def _note(self, schedule: Schedule, slot: datetime, state: str, *, why: str, **more: object) -> None:
        if (schedule.pk, slot) in self._before:
            logger.warning("the slot %s of schedule %s has been dealt with before", slot, schedule.pk)
            return
        self.fires.append(Fire(schedule=schedule, due_at=slot, state=state, why=why[:500], **more))


def _taken(schedule: Schedule, slot: datetime, *, last: datetime, next_at: datetime | None) -> bool:
    """Whether this slot, and those after it up to ``last``, are ours."""
    ours = Schedule.objects.filter(pk=schedule.pk, enabled=True, next_at=slot)
    return bool(ours.update(next_at=next_at, last_due_at=last))


def _tell(fire: Fire) -> None:
    """Let others know of a slot that started nothing."""
    slot_not_run.send(sender=Schedule, schedule=fire.schedule, fire=fire)


def schedules_check() -> int:
    """Disable what can start nothing any more, and mend what a wrong clock has put off; how many."""
    lost = Schedule.objects.filter(
        Q(pipeline__archived_at__isnull=False)
        | Q(script__archived_at__isnull=False)
        | Q(workspace__state__in=[Workspace.State.DESTROYING, Workspace.State.DESTROYED])
        | Q(owner__is_active=False),
        enabled=True,
    )
    count = 0
    for schedule in lost.select_related("owner", "pipeline", "script", "workspace"):
        schedule_disable(schedule=schedule, by=None, reason=gone(schedule))
        count += 1
    return count + _clock_mended()


def _clock_mended() -> int:
    """Slots that were dealt with although they are still to come: the clock was ahead, and was set back.

    They are due when their time comes. Those that were fired come no more, since no slot has two ``Fire`` rows.
    """
    now, count = timezone.now(), 0
    for found in Schedule.objects.filter(enabled=True, last_due_at__gt=now + LATE):
        with transaction.atomic():
            schedule = Schedule.objects.select_for_update().get(pk=found.pk)
            next_at = timing_of(schedule).rule().after(now)
            ours = Schedule.objects.filter(pk=schedule.pk, enabled=True, last_due_at=schedule.last_due_at)
            if ours.update(next_at=next_at, last_due_at=None):
                schedule.fires.filter(state=_State.MISSED, due_at__gt=now).delete()
                publish_on_commit(f"schedule:{schedule.pk}", f"owner:{schedule.owner_id}")
                count += 1
    return count


def fires_forget() -> int:
    """Drop what became of slots long ago; how many rows."""
    return Fire.objects.filter(created_at__lt=timezone.now() - FIRES_KEPT).delete()[0]
