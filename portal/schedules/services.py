"""What people do with schedules. What becomes of them when they are due is in ``firing``."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from portal.accounts.models import User
from portal.core.audit import audit
from portal.core.errors import Conflict, Invalid, LimitReached
from portal.core.live import publish_on_commit
from portal.schedules.models import Fire, Schedule
from portal.schedules.targets import Newest, Target, gone, start
from portal.schedules.timing import Timing, timing_of

_OVER = "The moment that it is for has passed."


def schedule_create(
    *,
    owner: User,
    name: str,
    timing: Timing,
    target: Target,
    missed: str = "",
    enabled: bool = True,
    of_pipeline: bool = False,
) -> Schedule:
    """A new schedule. ``missed`` is by default ``run_once`` for one moment, else ``skip``.

    Raises ``Invalid``, ``NotFound``, ``Conflict`` (name taken, target gone) or ``LimitReached``.
    """
    now = timezone.now()
    given = {"name": _name(name), **_times(timing.checked(now), missed), **target.checked(owner)}
    with transaction.atomic():
        User.objects.select_for_update().get(pk=owner.pk)
        if owner.schedules.count() >= settings.MAX_SCHEDULES:
            raise LimitReached(
                f"You may have {settings.MAX_SCHEDULES} schedules at a time.",
                code="too_many_schedules",
                hint="Delete one that you no longer need.",
            )
        schedule = Schedule(owner=owner, enabled=enabled, of_pipeline=of_pipeline, **given)
        schedule.next_at = timing_of(schedule).rule().after(now) if enabled else None
        _save(schedule)
        audit("schedule.create", schedule, by=owner)
        _announce(schedule)
    return schedule


def schedule_change(
    *, schedule: Schedule, by: User, name: str, timing: Timing, target: Target, missed: str = ""
) -> Schedule:
    """Another name, rule or target. A slot that is due already stays due; none that has been fired comes again.

    Raises as ``schedule_create`` does.
    """
    now = timezone.now()
    with transaction.atomic():
        held = Schedule.objects.select_for_update().select_related(None).get(pk=schedule.pk)
        timing = timing.counted_as(timing_of(held))
        same = timing.settled() == timing_of(held)
        times = _times(timing.settled() if same else timing.checked(now), missed)
        given = {"name": _name(name), **times, **target.checked(held.owner)}
        for field, value in given.items():
            setattr(held, field, value)
        if held.enabled and not same and (held.next_at is None or held.next_at > now):
            held.next_at = timing_of(held).rule().after(now)
        held.disabled_reason = ""
        _save(held)
        audit("schedule.change", held, by=by)
        _announce(held)
    return held


def _name(name: str) -> str:
    name = " ".join(name.split())
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise Invalid("The schedule needs a name.", fields={"name": "1 to 80 characters"})
    return name


def _times(checked: Timing, missed: str) -> dict[str, Any]:
    """The fields of a schedule that say when."""
    if missed not in ("", *Schedule.Missed.values):
        raise Invalid("There is no such policy.", fields={"missed": "One of: " + ", ".join(Schedule.Missed.values)})
    once = checked.kind == Schedule.Kind.ONCE
    usual = Schedule.Missed.RUN_ONCE if once else Schedule.Missed.SKIP
    return {"missed": missed or usual, **{field.name: getattr(checked, field.name) for field in fields(checked)}}


def _save(schedule: Schedule) -> None:
    try:
        with transaction.atomic():
            schedule.save()
    except IntegrityError as error:
        raise Conflict(
            f"You already have a schedule called {schedule.name}.",
            code="name_taken",
            fields={"name": "already taken"},
        ) from error


def schedule_enable(*, schedule: Schedule, by: User) -> None:
    """Let it fire from now on; what would have been due meanwhile was not missed. Raises ``Conflict``."""
    if why := gone(schedule):
        raise Conflict(why, code="target_gone", hint="Change what it starts, or delete it.")
    with transaction.atomic():
        held = Schedule.objects.select_for_update().get(pk=schedule.pk)
        if not held.enabled:
            next_at = timing_of(held).rule().after(timezone.now())
            if next_at is None:
                raise Conflict(_OVER, code="schedule_over", hint="Give it another moment.")
            _switch(held, by, enabled=True, next_at=next_at, reason="")
    schedule.refresh_from_db()


def schedule_disable(*, schedule: Schedule, by: User | None, reason: str = "") -> None:
    """Let it fire no more, until it is enabled. ``reason``: why Orca itself does that."""
    with transaction.atomic():
        held = Schedule.objects.select_for_update().get(pk=schedule.pk)
        if held.enabled:
            _switch(held, by, enabled=False, next_at=None, reason=reason)
    schedule.refresh_from_db()


def _switch(schedule: Schedule, by: User | None, *, enabled: bool, next_at: datetime | None, reason: str) -> None:
    rows = Schedule.objects.filter(pk=schedule.pk, enabled=not enabled)
    if rows.update(enabled=enabled, next_at=next_at, disabled_reason=reason[:200]):
        audit("schedule.enable" if enabled else "schedule.disable", schedule, by=by, reason=reason)
        _announce(schedule)


def schedule_delete(*, schedule: Schedule, by: User) -> None:
    """Take it away with its history; the runs that it started stay."""
    with transaction.atomic():
        audit("schedule.delete", schedule, by=by)
        _announce(schedule)
        schedule.delete()


def schedule_run_now(*, schedule: Schedule, by: User) -> Fire:
    """Start what it starts, at once and whether it is enabled or not. Raises what refuses that."""
    if why := gone(schedule):
        raise Conflict(why, code="target_gone", hint="Change what it starts, or delete it.")
    with transaction.atomic():
        now = timezone.now()
        started = start(schedule, due_at=now, newest=Newest())
        fire = Fire.objects.create(
            schedule=schedule, due_at=now, state=Fire.State.FIRED, by_hand=True, run=started.run, why=started.why
        )
        Schedule.objects.filter(pk=schedule.pk).update(last_fire=fire)
        audit("schedule.run", schedule, by=by)
        _announce(schedule)
    return fire


def _announce(schedule: Schedule) -> None:
    publish_on_commit(f"schedule:{schedule.pk}", f"owner:{schedule.owner_id}")
