"""What a person says about when, made into a rule or refused with the field that is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from portal.core.errors import Invalid
from portal.schedules.models import UNIT_SECONDS, Schedule
from portal.schedules.times import BadTime, Cron, Interval, Once, Rule, instant, note, upcoming, zone_of

_YEARS = range(2000, 2100)
_LONGEST = 366 * 86_400
Kind = Schedule.Kind


@dataclass(frozen=True)
class Timing:
    """When, as it was said: ``at`` without an offset is what a clock in ``zone`` shows."""

    kind: str
    expression: str = ""
    every: int | None = None
    unit: str = ""
    at: datetime | None = None
    zone: str = "UTC"

    def settled(self) -> Timing:
        """The same in the form that is kept, free of what its kind has no use for. Raises ``Invalid``."""
        try:
            zone = zone_of(self.zone)
        except BadTime as error:
            raise _refused("zone", str(error)) from error
        if self.kind == Kind.CRON:
            return Timing(Kind.CRON, expression=" ".join(self.expression.upper().split()), zone=self.zone)
        if self.at is not None and self.at.year not in _YEARS:
            raise _refused("at", f"A year from {_YEARS[0]} to {_YEARS[-1]}.")
        at = None if self.at is None else instant(self.at.replace(microsecond=0), zone)
        if self.kind == Kind.ONCE:
            return Timing(Kind.ONCE, at=at, zone=self.zone)
        if self.kind == Kind.INTERVAL:
            return replace(self, expression="", at=at)
        raise _refused("kind", "One of: " + ", ".join(Kind.values) + ".")

    def checked(self, now: datetime) -> Timing:
        """The same, due at least once from ``now`` on; an interval is counted from then if from nothing else.

        Raises ``Invalid``.
        """
        found = self.settled()
        if found.kind == Kind.CRON:
            found._cron_check()
        elif found.kind == Kind.INTERVAL:
            found._interval_check()
            found = replace(found, at=found.at or now.replace(microsecond=0))
        elif found.at is None:
            raise _refused("at", "Say the moment.")
        elif found.at <= now:
            there = now.astimezone(zone_of(found.zone))
            raise _refused("at", f"This has passed: it is {there:%Y-%m-%d %H:%M:%S} there now.")
        return found

    def counted_as(self, before: Timing) -> Timing:
        """The same; an interval that says no beginning goes on being counted from where it was ``before``."""
        goes_on = self.kind == before.kind == Kind.INTERVAL and self.at is None
        return replace(self, at=before.at) if goes_on else self

    def _cron_check(self) -> None:
        if len(self.expression) > 200:
            raise _refused("expression", "At most 200 characters.")
        try:
            Cron(self.expression, zone_of(self.zone))
        except BadTime as error:
            raise _refused("expression", str(error)) from error

    def _interval_check(self) -> None:
        if self.unit not in UNIT_SECONDS:
            raise _refused("unit", "One of: " + ", ".join(UNIT_SECONDS) + ".")
        least: int = settings.LEAST_INTERVAL
        if self.every is None or not least <= self.every * UNIT_SECONDS[self.unit] <= _LONGEST:
            raise _refused("every", f"From {least} second{'' if least == 1 else 's'} to 366 days.")

    def rule(self) -> Rule:
        """The rule of what ``checked`` returned."""
        if self.kind == Kind.CRON:
            return Cron(self.expression, zone_of(self.zone))
        if self.kind == Kind.INTERVAL:
            return Interval((self.every or 0) * UNIT_SECONDS[self.unit], self.at or timezone.now())
        return Once(self.at or timezone.now())


def _refused(field: str, why: str) -> Invalid:
    return Invalid("It cannot be scheduled like this.", code="bad_schedule", fields={field: why})


def timing_of(schedule: Schedule) -> Timing:
    """What a schedule has."""
    return Timing(schedule.kind, schedule.expression, schedule.every, schedule.unit, schedule.at, zone=schedule.zone)


@dataclass(frozen=True)
class Coming:
    """A slot to come: the instant, the same on the clocks of the schedule's zone, and what is special about it."""

    utc: datetime
    local: datetime
    note: str


@dataclass(frozen=True)
class Preview:
    """A rule in words, and when it is due next."""

    words: str
    coming: list[Coming]


def preview(timing: Timing, *, count: int = 5, now: datetime | None = None) -> Preview:
    """What this would mean from now on. Raises ``Invalid``."""
    now = now or timezone.now()
    checked = timing.checked(now)
    rule = checked.rule()
    return Preview(words_of(checked), coming(rule, checked.zone, upcoming(rule, now, count)))


def coming(rule: Rule, zone: str, found: Iterable[datetime]) -> list[Coming]:
    """Slots as people are shown them."""
    there = zone_of(zone)
    return [Coming(slot, slot.astimezone(there), note(rule, slot)) for slot in found]


def words_of(timing: Timing) -> str:
    """A checked timing in words: ``At 02:30 every day``, ``Every 5 minutes``, ``Once``."""
    if timing.kind == Kind.CRON:
        return Cron(timing.expression, zone_of(timing.zone)).words
    if timing.kind == Kind.INTERVAL:
        one = timing.every == 1
        return f"Every {timing.unit.removesuffix('s')}" if one else f"Every {timing.every} {timing.unit}"
    return "Once"
