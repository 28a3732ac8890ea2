"""What a stretch of time costs, to the nano-dollar, however it is cut.

The cost of a stretch is that of the time until its end less that until its beginning, both counted from the same
instant and rounded down once. So the costs of the parts always add up to the cost of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from portal.usage.prices import Tariff

_MICRO = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
LEAST_BILLED = timedelta(seconds=60)


@dataclass(frozen=True)
class Amount:
    """Nano-dollars, and milliseconds of a whole instance."""

    nano: int = 0
    ms: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.nano + other.nano, self.ms + other.ms)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.nano - other.nano, self.ms - other.ms)

    def __bool__(self) -> bool:
        return bool(self.nano or self.ms)


def accrued(tariff: Tariff, began: datetime, until: datetime, *, slots: int = 1) -> Amount:
    """Of one of ``slots`` equal parts of an instance, from ``began`` until ``until``."""
    if until <= began:
        return Amount()
    micros = (until - began) // _MICRO
    turns = [since for since in tariff.since[1:] if began < since < until]
    product = 0
    for begin, end in zip([began, *turns], [*turns, until], strict=True):
        product += (end - begin) // _MICRO * tariff.at(begin)
    return Amount(product // (1_000_000 * slots), micros // (1_000 * slots))


def between(tariff: Tariff, began: datetime, begin: datetime, end: datetime, *, slots: int = 1) -> Amount:
    """The part from ``begin`` to ``end`` of what began at ``began``."""
    return accrued(tariff, began, end, slots=slots) - accrued(tariff, began, max(began, begin), slots=slots)


def midnight(day: date) -> datetime:
    """The instant at which a day begins, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def day_of(when: datetime) -> date:
    """The day in UTC."""
    return when.astimezone(UTC).date()


def days(begin: datetime, end: datetime) -> Iterator[tuple[date, datetime, datetime]]:
    """The days of a stretch, each with the part of it that lies in that day; one at least."""
    day = day_of(begin)
    while True:
        after = midnight(day + timedelta(days=1))
        yield day, max(begin, midnight(day)), min(end, after)
        if end <= after:
            return
        day += timedelta(days=1)


def billed_until(began: datetime, ended: datetime) -> datetime:
    """EC2 counts whole seconds, and a minute at least."""
    whole = -(-(ended - began) // _SECOND) * _SECOND if ended > began else timedelta()
    return began + max(whole, LEAST_BILLED)
