"""The one row of each person that knows what may still be spent, changed under its lock only.

What counts is what is written down: ``spent`` follows the records, ``reserved`` the reservations. A cost that is in
the records but not in ``spent`` yet is covered by the reservation of its run; so however far the ledger is behind, the
two together are never less than what was used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from portal.accounts.models import User
from portal.usage import prices
from portal.usage.accrual import midnight
from portal.usage.models import Budget, Kind, Reservation, Span, UsageDay, UsageRecord
from portal.usage.settling import seconds_of_month
from portal.usage.statements import month_after

_DAY = timedelta(days=1)
# S3 says a day's size up to so much later.
MEASURED_LATE = timedelta(days=2)


@dataclass(frozen=True)
class Standing:
    """A person's budget as it is now. ``soft`` and ``hard`` are None where there is none."""

    month: date
    soft: int | None
    hard: int | None
    spent: int
    reserved: int
    held: int
    reached_at: datetime | None = None

    @property
    def left(self) -> int | None:
        """What new runs may cost; None without a hard amount."""
        return None if self.hard is None else max(0, self.hard - self.spent - self.reserved - self.held)

    @property
    def is_reached(self) -> bool:
        """Whether nothing more may be spent."""
        return self.hard is not None and (self.reached_at is not None or self.left == 0)

    @property
    def is_soft_reached(self) -> bool:
        """Whether it is time for a warning."""
        return self.soft is not None and self.spent >= self.soft


def is_bounded(user: User) -> bool:
    """Whether a hard budget may hold for this person: known without asking the database."""
    return user.budgeted or settings.BUDGET_HARD is not None or (user.trial and settings.TRIAL_BUDGET is not None)


def is_watched(user: User) -> bool:
    """Whether any budget may hold for this person."""
    return is_bounded(user) or settings.BUDGET_SOFT is not None


def hard_of(user: User, budget: Budget | None) -> int | None:
    """The hard amount that holds for somebody."""
    if budget is not None and budget.hard is not None:
        return budget.hard
    found: int | None = settings.TRIAL_BUDGET if user.trial else settings.BUDGET_HARD
    return found


def soft_of(user: User, budget: Budget | None) -> int | None:
    """The soft amount that holds for somebody: their own, else the settings', else four fifths of a hard one."""
    if budget is not None and budget.soft is not None:
        return budget.soft
    hard = hard_of(user, budget)
    if settings.BUDGET_SOFT is not None:
        return int(settings.BUDGET_SOFT) if hard is None else min(settings.BUDGET_SOFT, hard)
    return None if hard is None else hard * 4 // 5


def this_month() -> date:
    """The first day of the month that it is (UTC)."""
    return timezone.now().date().replace(day=1)


@contextmanager
def locked(owner: User) -> Iterator[Budget]:
    """The person's row, made where there is none, of this month, nobody else's until the transaction ends."""
    with transaction.atomic():
        Budget.objects.get_or_create(owner=owner, defaults={"month": this_month()})
        budget = Budget.objects.select_for_update().get(owner=owner)
        if budget.looked_at is None or budget.month != this_month():
            refresh(budget)
        yield budget


def refresh(budget: Budget) -> None:
    """Bring a locked row up to date with records and reservations, and save it.

    What runs have used is read before what was spent: a cost that is recorded in between counts twice rather than not
    at all.
    """
    month = this_month()
    held_back = list(budget.reservations.filter(state=Reservation.State.OPEN))
    costs = costs_of([reservation.run_id for reservation in held_back])
    for reservation in held_back:
        used = costs.get(reservation.run_id, 0)
        if used != reservation.used:
            reservation.used = used
            reservation.save(update_fields=["used"])
    if budget.month != month:
        budget.month, budget.reached_at = month, None
    budget.reserved = sum(reservation.outstanding for reservation in held_back)
    budget.spent = spent_in(budget.owner_id, month)
    budget.held = kept_cost(budget.owner_id, month)
    budget.looked_at = timezone.now()
    budget.save(update_fields=["month", "reserved", "spent", "held", "looked_at", "reached_at"])


def costs_of(run_ids: list[str]) -> dict[str, int]:
    """What runs have cost so far, as it is recorded."""
    rows = UsageRecord.objects.filter(run__in=run_ids).order_by().values("run").annotate(nano=Sum("nano"))
    return {row["run"]: row["nano"] for row in rows} if run_ids else {}


def spent_in(owner_id: str, month: date) -> int:
    """What was used in a month, as it is recorded."""
    days = UsageDay.objects.filter(owner=owner_id, day__gte=month, day__lt=month_after(month))
    return int(days.aggregate(nano=Sum("nano"))["nano"] or 0)


def kept_cost(owner_id: str, month: date) -> int:
    """What disks and stored data will cost until the month ends: disks as they are, data as it was last measured.

    What is in the records of today is in what was spent as well: rather too much is set aside than too little.
    """
    now, after = timezone.now(), midnight(month_after(month))
    today = now.date()
    days = UsageDay.objects.filter(owner=owner_id, kind=Kind.STORAGE, day__gte=today - MEASURED_LATE - _DAY)
    stored = [row["nano"] for row in days.order_by().values("day").annotate(nano=Sum("nano"))]
    kept = max(stored, default=0) * (month_after(month) - today + MEASURED_LATE).days
    disks = Span.objects.filter(owner=owner_id, kind=Span.Kind.VOLUME, ended_at=None)
    for disk in disks:
        seconds = int((after - max(disk.began_at, midnight(today))).total_seconds()) + 1
        rate = prices.volume_rate(disk.region, now)
        kept += -(-disk.gb * seconds * rate // seconds_of_month(month))
    return kept


def standing_of(user: User) -> Standing:
    """How somebody's budget stands, without a lock and as of when it was last looked at."""
    budget = Budget.objects.filter(owner=user).first()
    month = this_month()
    soft, hard = soft_of(user, budget), hard_of(user, budget)
    if budget is None or budget.month != month:
        return Standing(month, soft, hard, spent_in(user.pk, month), budget.reserved if budget else 0, 0)
    spent = max(budget.spent, spent_in(user.pk, month))
    return Standing(month, soft, hard, spent, budget.reserved, budget.held, budget.reached_at)
