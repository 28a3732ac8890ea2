"""Beat asks for schedules to be fired when they are due, and only one beat of several does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone
from django_celery_beat.schedulers import DatabaseScheduler

from portal.celery import app
from portal.schedules import beat
from portal.schedules.beat import FIRE, LEASE, Scheduler, Tenure
from portal.schedules.models import Lease, Schedule

from .conftest import ScheduleMaker

pytestmark = pytest.mark.django_db(transaction=True)  # the scheduler closes connections


class Monotonic:
    """A clock that goes on by itself nowhere."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> Monotonic:
    found = Monotonic()
    monkeypatch.setattr(beat, "time", found)
    return found


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the tasks that were sent."""
    found: list[str] = []
    monkeypatch.setattr(app, "send_task", lambda name, *args, **given: found.append(name))
    return found


def test_celery_begins_with_our_beat() -> None:
    assert f"{Scheduler.__module__}:{Scheduler.__name__}" == settings.CELERY_BEAT_SCHEDULER


def test_beat_wakes_when_the_next_schedule_is_due_and_a_second_later_at_most(
    scheduled: ScheduleMaker, sent: list[str]
) -> None:
    schedule = scheduled("0 0 1 1 *")
    scheduler = Scheduler(app=app)
    assert scheduler._ask() == 1.0
    Schedule.objects.filter(pk=schedule.pk).update(next_at=timezone.now() + timedelta(seconds=0.4))
    assert 0.2 < scheduler._ask() <= 0.4
    assert sent == []


def test_what_is_due_is_asked_for_once_and_again_should_that_be_lost(
    scheduled: ScheduleMaker, sent: list[str], steady: Monotonic
) -> None:
    schedule = scheduled("0 0 1 1 *")
    Schedule.objects.filter(pk=schedule.pk).update(next_at=timezone.now() - timedelta(seconds=1))
    scheduler = Scheduler(app=app)
    sent.clear()
    scheduler._ask()
    scheduler._ask()
    assert sent == [FIRE]
    steady.now += 6
    scheduler._ask()
    assert sent == [FIRE, FIRE]
    Schedule.objects.filter(pk=schedule.pk).update(next_at=timezone.now() - timedelta(seconds=0.5))
    scheduler._ask()
    assert sent == [FIRE, FIRE, FIRE]


def test_disabled_schedules_wake_nobody(scheduled: ScheduleMaker, sent: list[str]) -> None:
    schedule = scheduled("0 0 1 1 *")
    Schedule.objects.filter(pk=schedule.pk).update(next_at=timezone.now() - timedelta(seconds=1), enabled=False)
    assert Scheduler(app=app)._ask() == 1.0
    assert sent == []


def test_of_two_beats_one_works_and_the_other_takes_over(steady: Monotonic, monkeypatch: Any) -> None:
    ticked: list[str] = []

    def tick(self: Scheduler, *args: Any, **given: Any) -> float:
        ticked.append(self.tenure.holder)
        return 1.0

    monkeypatch.setattr(DatabaseScheduler, "tick", tick)
    first, second = Scheduler(app=app), Scheduler(app=app)
    for _ in range(3):
        first.tick()
        second.tick()
        steady.now += 1
    assert ticked == [first.tenure.holder] * 3

    Lease.objects.update(until=timezone.now() - timedelta(seconds=1))  # the first one is dead
    second.tick()
    assert ticked[-1] == second.tenure.holder
    steady.now += 10
    first.tick()  # it was only slow
    assert ticked[-1] == second.tenure.holder


def test_a_beat_that_ends_lets_the_next_begin_at_once() -> None:
    first, second = Tenure("first"), Tenure("second")
    assert first.held()
    assert not second.held()
    first.give_up()
    assert second.held()
    assert not first.held()


def test_a_lease_of_a_clock_that_was_ahead_is_no_lease() -> None:
    assert Tenure("first").held()
    Lease.objects.update(until=timezone.now() + timedelta(days=1))
    assert Tenure("second").held()
    assert Lease.objects.get().until < timezone.now() + 2 * LEASE


def test_a_database_that_does_not_answer_does_not_end_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = Scheduler(app=app)

    def gone() -> bool:
        raise DatabaseError("gone away")

    monkeypatch.setattr(scheduler.tenure, "held", gone)
    assert scheduler.tick() == 1.0


def test_a_broker_that_does_not_answer_is_asked_again(
    scheduled: ScheduleMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = scheduled("0 0 1 1 *")
    Schedule.objects.filter(pk=schedule.pk).update(next_at=timezone.now() - timedelta(seconds=1))
    tried: list[str] = []

    def refuse(name: str, *args: Any, **given: Any) -> None:
        tried.append(name)
        raise ConnectionRefusedError

    monkeypatch.setattr(app, "send_task", refuse)
    scheduler = Scheduler(app=app)
    scheduler._ask()
    scheduler._ask()
    assert tried == [FIRE, FIRE]


def test_beat_says_since_when_it_has_asked(scheduled: ScheduleMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = scheduled("0 0 1 1 *")
    said: list[str] = []
    monkeypatch.setattr(app, "send_task", lambda name, kwargs, **given: said.append(kwargs["as_of"]))
    scheduler = Scheduler(app=app)

    def due(seconds_ago: float) -> None:
        Schedule.objects.filter(pk=schedule.pk).update(next_at=timezone.now() - timedelta(seconds=seconds_ago))
        scheduler._ask()

    due(2)
    due(1)  # there is always something that waits
    assert said[0] == said[1]
    due(-60)  # all is done
    due(1)
    assert said[2] > said[1]
