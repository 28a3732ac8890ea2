"""When a schedule is due. Pure arithmetic: no clock is read here, every instant comes in and goes out as UTC.

A *slot* is an instant at which a rule is due. What happens when a zone changes its clocks:

- A cron rule that names its hours (``30 2 * * *``) means the wall clock. A time that does not exist that day is due
  once, at the first moment after the gap; a time that happens twice is due once, at the first.
- A cron rule whose hours begin with ``*`` (``*/15 * * * *``, ``0 */6 * * *``) means "every so often": it goes on
  through both passes of an hour that happens twice, and what falls into a gap is left out.
- An interval counts elapsed seconds and knows no clocks.

The first two are Debian's cron, but that there a minute that begins with ``*`` also makes a rule "every so often".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Protocol
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

_COUNTED = 1_000
_YEAR = timedelta(days=366)
_FIELDS = {
    "minute": "minute (0 to 59)",
    "hour": "hour (0 to 23)",
    "day-of-month": "day of the month (1 to 31)",
    "month": "month (1 to 12, or JAN to DEC)",
    "day-of-week": "day of the week (0 to 7, or SUN to SAT)",
}


class BadTime(ValueError):
    """A rule that cannot be; says why in a sentence for people."""


class Rule(Protocol):
    """Something that is due now and then."""

    def after(self, moment: datetime) -> datetime | None:
        """The first slot later than ``moment``; nothing where there is none any more."""


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Every zone that there is."""
    return frozenset(available_timezones() - {"localtime", "Factory"})


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its name (``Europe/Berlin``). Raises ``BadTime``."""
    if name not in zone_names():
        raise BadTime(f"There is no time zone called “{name[:60]}”. Write it like Europe/Berlin, or UTC.")
    return ZoneInfo(name)


def instant(local: datetime, zone: ZoneInfo) -> datetime:
    """What a wall clock in ``zone`` calls ``local``; an instant is taken as it is.

    A time that happens twice is the first of both, one that does not exist the first moment after the gap.
    """
    if local.tzinfo is not None:
        return local.astimezone(UTC)
    found = local.replace(tzinfo=zone, fold=0)
    if found.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == local:
        return found.astimezone(UTC)
    return _gap_end(found)


def _gap_end(imaginary: datetime) -> datetime:
    """The first moment that exists after a time in a gap: that at which the offset changes."""
    before = imaginary.replace(fold=0).utcoffset() or timedelta()
    after = imaginary.replace(fold=1).utcoffset() or timedelta()
    late, early = imaginary.replace(fold=0).astimezone(UTC), imaginary.replace(fold=1).astimezone(UTC)
    # The change is between the two readings of that time, which differ by the width of the gap.
    while late - early > timedelta(seconds=1):
        middle = early + (late - early) // 2
        if middle.astimezone(imaginary.tzinfo).utcoffset() == after:
            late = middle
        else:
            early = middle
    return late.replace(microsecond=0) if before != after else late


@dataclass(frozen=True)
class Cron:
    """Five fields (minute, hour, day of the month, month, day of the week) on the clocks of a zone."""

    expression: str
    zone: ZoneInfo

    def __post_init__(self) -> None:
        """Refuse what cannot be read, and what is never due. Raises ``BadTime``."""
        fields = self.expression.split()
        if len(fields) != 5:
            raise BadTime(
                "Five fields are needed: minute, hour, day of the month, month, day of the week."
                f" This has {len(fields)}."
            )
        try:
            found = next(CronSim(self._wall, datetime(2024, 1, 1, tzinfo=self.zone)), None)
        except CronSimError as error:
            raise BadTime(_reason(str(error), fields)) from error
        if found is None:
            raise BadTime("This is never due: no such day comes in the next 50 years.")

    @property
    def is_wall_clock(self) -> bool:
        """Whether its hours are named; else it means "every so often"."""
        return not self.expression.split()[1].startswith("*")

    @property
    def _wall(self) -> str:
        """The expression with its minutes spelled out where the hours are named: they too mean the wall clock then."""
        minute, *rest = self.expression.split()
        return " ".join((minute.replace("*", "0-59") if self.is_wall_clock else minute, *rest))

    def names(self, local: datetime) -> bool:
        """Whether a wall clock that shows this is what the expression says."""
        shown = local.replace(tzinfo=None, fold=0)
        return next(CronSim(self._wall, shown - timedelta(seconds=1)), None) == shown

    @property
    def words(self) -> str:
        """The rule in English: ``At 02:30 every day``."""
        return str(CronSim(self.expression, datetime(2024, 1, 1, tzinfo=UTC)).explain())

    def after(self, moment: datetime) -> datetime | None:
        """See ``Rule``."""
        for slot in CronSim(self._wall, moment.astimezone(self.zone)):
            found = slot.astimezone(UTC)
            if found > moment:  # else it is the first pass of an hour whose second pass this is
                return found
        return None


def _reason(said: str, fields: list[str]) -> str:
    name = said.removeprefix("Bad ")
    if name == "day-of-month":
        try:
            CronSim(" ".join((*fields[:3], "*", *fields[4:])), datetime(2024, 1, 1, tzinfo=UTC))
        except CronSimError:
            pass
        else:
            return "This is never due: the months that it names have no such day."
    place = list(_FIELDS).index(name) if name in _FIELDS else None
    if place is None:
        return "This is no cron expression."
    return f"“{fields[place][:40]}” is no {_FIELDS[name]}."


@dataclass(frozen=True)
class Interval:
    """Every so many seconds, counted from an instant, which is itself a slot."""

    seconds: int
    anchor: datetime

    def after(self, moment: datetime) -> datetime | None:
        """See ``Rule``."""
        if moment < self.anchor:
            return self.anchor
        step = timedelta(seconds=self.seconds)
        return self.anchor + ((moment - self.anchor) // step + 1) * step


@dataclass(frozen=True)
class Once:
    """One moment."""

    at: datetime

    def after(self, moment: datetime) -> datetime | None:
        """See ``Rule``."""
        return self.at if self.at > moment else None


def note(rule: Rule, slot: datetime) -> str:
    """What a person should know of a slot: that its zone's clocks change there. Empty for nearly all."""
    if not isinstance(rule, Cron):
        return ""
    local = slot.astimezone(rule.zone)
    if not rule.is_wall_clock:
        return "the second time that day" if local.fold else ""
    twice = local.replace(fold=1).utcoffset() != local.utcoffset() and local.fold == 0
    if twice:
        return "this time comes twice that day; it runs the first time"
    return "" if rule.names(local) else "the time that is meant does not exist that day; it runs right after the gap"


def slots(rule: Rule, moment: datetime) -> Iterator[datetime]:
    """Every slot later than ``moment``, in order."""
    found = rule.after(moment)
    while found is not None:
        yield found
        found = rule.after(found)


def upcoming(rule: Rule, moment: datetime, count: int = 5) -> list[datetime]:
    """The next slots."""
    return list(islice(slots(rule, moment), count))


@dataclass(frozen=True)
class Passed:
    """Slots that went by: how many (counted up to 1,000), the first and the last of them."""

    first: datetime
    last: datetime
    count: int


def passed(rule: Rule, first: datetime, until: datetime) -> Passed:
    """The slots from ``first``, which is one, up to ``until``. However long that is, it takes no time to speak of."""
    count, last = 1, first
    for slot in islice(slots(rule, first), _COUNTED - 1):
        if slot > until:
            return Passed(first, last, count)
        count, last = count + 1, slot
    return Passed(first, _last_until(rule, last, until), count)


def _last_until(rule: Rule, known: datetime, until: datetime) -> datetime:
    """The last slot up to ``until``, of which ``known`` is an earlier one."""
    window = timedelta(minutes=1)
    while window < 50 * _YEAR:
        begin = max(known, until - window)
        found = [slot for slot in islice(slots(rule, begin), _COUNTED) if slot <= until]
        if found and len(found) < _COUNTED:
            return found[-1]
        if begin == known:
            break
        window *= 4
    return known
