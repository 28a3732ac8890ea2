"""The statement of a month: what was used, what is taken off, and what is left to pay.

It is made of the daily sums, whose number does not grow with the number of records. Deductions come in this order, each
from what the ones before have left:

1. what was used in the person's own cloud accounts: AWS bills that to them;
2. free tiers, kind by kind;
3. discounts, the oldest first;
4. credits, those that run out first before the others, those without an end last.

What a credit has left is worked out from the months since it was given, so that nothing has to be booked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Q, Sum
from django.db.models.functions import TruncMonth

from portal.accounts.models import User
from portal.pipelines.models import Script
from portal.usage import money, prices
from portal.usage.accrual import midnight
from portal.usage.models import Grant, Kind, UsageDay
from portal.usage.settling import seconds_of_month
from portal.workspaces.models import Workspace

_HOUR_MS = 3_600_000
NO_SCRIPT = "No script"
_UNITS = {
    Kind.COMPUTE: "hours",
    Kind.START_UP: "hours",
    Kind.IDLE: "hours",
    Kind.VOLUME: "GB-months",
    Kind.STORAGE: "GB-months",
    Kind.EGRESS: "GB",
    Kind.INGRESS: "GB",
    Kind.REQUEST: "requests",
    Kind.READ: "requests",
    Kind.SENT: "GB",
    Kind.FETCHED: "GB",
}


@dataclass(frozen=True)
class Line:
    """A sum: of a kind (``quantity`` in its ``unit``), a workspace, a script or a day."""

    name: str
    nano: int
    quantity: Decimal = Decimal(0)
    unit: str = ""
    kind: str = ""
    id: str = ""

    @property
    def amount(self) -> str:
        """How much it was, for people."""
        digits = 0 if self.unit == _UNITS[Kind.REQUEST] else 2
        return f"{self.quantity:,.{digits}f} {self.unit}"


@dataclass(frozen=True)
class Deduction:
    """Something that is taken off, and why."""

    name: str
    why: str
    nano: int


@dataclass
class Statement:
    """``used`` before, ``total`` after the deductions. ``days``: of each day what each kind cost."""

    month: date
    kinds: list[Line] = field(default_factory=list)
    workspaces: list[Line] = field(default_factory=list)
    scripts: list[Line] = field(default_factory=list)
    days: dict[date, dict[str, int]] = field(default_factory=dict)
    deductions: list[Deduction] = field(default_factory=list)

    @property
    def used(self) -> int:
        return sum(line.nano for line in self.kinds)

    @property
    def total(self) -> int:
        return self.used - sum(deduction.nano for deduction in self.deductions)

    @property
    def name(self) -> str:
        return f"{self.month:%Y-%m}"


def month_after(month: date) -> date:
    """The first day of the next month."""
    return (month.replace(day=1) + timedelta(days=32)).replace(day=1)


def statement_of(owner: User, month: date) -> Statement:
    """A person's statement; ``month`` is its first day."""
    rows = list(
        UsageDay.objects.filter(owner=owner, day__gte=month, day__lt=month_after(month)).values_list(
            "day", "workspace_id", "kind", "script", "quantity", "nano"
        )
    )
    statement = Statement(month)
    quantities: dict[str, int] = defaultdict(int)
    sums: dict[str, dict[str, int]] = {name: defaultdict(int) for name in ("kind", "workspace", "script")}
    for day, workspace, kind, script, quantity, nano in rows:
        quantities[kind] += quantity
        sums["kind"][kind] += nano
        sums["workspace"][workspace] += nano
        sums["script"][script] += nano
        of_day = statement.days.setdefault(day, {})
        of_day[kind] = of_day.get(kind, 0) + nano
    statement.kinds = [
        Line(kind.label, sums["kind"][kind], shown(kind, quantities[kind], month), _UNITS[kind], kind.value)
        for kind in Kind
        if kind in quantities
    ]
    names = dict(Workspace.objects.filter(pk__in=sums["workspace"]).values_list("pk", "name"))
    statement.workspaces = _dearest(sums["workspace"], names)
    names = dict(Script.objects.filter(pk__in=sums["script"]).values_list("pk", "name"))
    statement.scripts = _dearest(sums["script"], {**names, "": NO_SCRIPT})
    statement.deductions = _deductions(owner, month)
    return statement


def _dearest(sums: Mapping[str, int], names: Mapping[str, str]) -> list[Line]:
    lines = [Line(names.get(pk, pk), nano, id=pk) for pk, nano in sums.items()]
    return sorted(lines, key=lambda line: (-line.nano, line.name))


def unit_of(kind: str) -> str:
    """The unit in which people read quantities of a kind."""
    return _UNITS[Kind(kind)]


def shown(kind: str, quantity: int, month: date) -> Decimal:
    """A quantity in the unit that people read: hours, GB-months, GB or requests."""
    divisor = {
        Kind.COMPUTE: _HOUR_MS,
        Kind.START_UP: _HOUR_MS,
        Kind.IDLE: _HOUR_MS,
        Kind.VOLUME: seconds_of_month(month),
        Kind.STORAGE: prices.GIB * seconds_of_month(month) // 3_600,
        Kind.EGRESS: prices.GIB,
        Kind.INGRESS: prices.GIB,
        Kind.SENT: prices.GIB,
        Kind.FETCHED: prices.GIB,
    }.get(Kind(kind))
    if divisor is None:
        return Decimal(quantity)
    return (Decimal(quantity) / divisor).quantize(Decimal("0.0001"))


@dataclass
class _Bill:
    """What is left of each kind in a month, and what was used of it."""

    left: dict[str, int]
    used: dict[str, Decimal]

    def take(self, kind: str, most: int) -> int:
        """Take at most so much off; off everything, kind by kind, where none is named. How much it was."""
        taken = 0
        for each in [kind] if kind else sorted(self.left):
            part = max(0, min(self.left.get(each, 0), most - taken))
            if part:
                self.left[each] -= part
                taken += part
        return taken


def _deductions(owner: User, month: date) -> list[Deduction]:
    """What is taken off in a month. The months before are gone through for what they have used of the credits."""
    grants = list(Grant.objects.filter(Q(owner=owner) | Q(owner=None), valid_from__lt=midnight(month_after(month))))
    credits = [grant for grant in grants if grant.kind == Grant.Kind.CREDIT]
    since = min((grant.valid_from.date().replace(day=1) for grant in credits), default=month)
    left = {grant.pk: grant.amount for grant in credits}
    found: list[Deduction] = []
    for each, bill, own in _bills(owner, min(since, month), month):
        found = [own] if own.nano else []
        found += _granted(bill, each, [grant for grant in grants if _valid(grant, each)], left)
    return found


def _bills(owner: User, first: date, last: date) -> Iterator[tuple[date, _Bill, Deduction]]:
    """What each month from ``first`` to ``last`` cost, less what was used in the person's own accounts."""
    rows = (
        UsageDay.objects.filter(owner=owner, day__gte=first, day__lt=month_after(last))
        .annotate(month=TruncMonth("day"))
        .order_by()
        .values_list("month", "kind", "workspace__cloud_account__owner")
        .annotate(total=Sum("nano"), amount=Sum("quantity"))
    )
    months: dict[date, list[Any]] = defaultdict(list)
    for row in rows:
        months[row[0]].append(row[1:])
    for month in sorted({*months, last}):
        bill, own = _Bill(defaultdict(int), defaultdict(Decimal)), 0
        for kind, account_owner, nano, quantity in months[month]:
            if account_owner is not None:
                own += nano
                continue
            bill.left[kind] += nano
            bill.used[kind] += shown(kind, quantity, month)
        why = "AWS bills what is used in your own cloud accounts to you; here it is shown at list price."
        yield month, bill, Deduction("Your own cloud accounts", why, own)


def _valid(grant: Grant, month: date) -> bool:
    """Whether it is good for some of a month: then it is for all of it."""
    starts = grant.valid_from < midnight(month_after(month))
    return starts and (grant.valid_to is None or grant.valid_to > midnight(month))


def _granted(bill: _Bill, month: date, grants: list[Grant], left: dict[str, int]) -> list[Deduction]:
    found = []
    for kind in (Grant.Kind.FREE_TIER, Grant.Kind.DISCOUNT, Grant.Kind.CREDIT):
        for grant in sorted((g for g in grants if g.kind == kind), key=_order):
            nano, why = _taken(bill, grant, left)
            if nano:
                found.append(Deduction(str(grant), why, nano))
    return found


def _order(grant: Grant) -> tuple[Any, ...]:
    if grant.kind == Grant.Kind.CREDIT:
        return (grant.valid_to is None, grant.valid_to or grant.valid_from, grant.pk)
    return (grant.valid_from, grant.pk)


def _taken(bill: _Bill, grant: Grant, left: dict[str, int]) -> tuple[int, str]:
    """How much a grant takes off, and the words for it."""
    of = Kind(grant.of).label.lower() if grant.of else "everything"
    if grant.kind == Grant.Kind.FREE_TIER:
        used = bill.used.get(grant.of, Decimal(0))
        free = min(grant.quantity, used)
        nano = int(bill.left.get(grant.of, 0) * free / used) if used > 0 else 0
        unit = _UNITS.get(Kind(grant.of), "") if grant.of else ""
        return bill.take(grant.of, nano) if grant.of else 0, f"{grant.quantity.normalize():f} {unit} of {of} are free."
    if grant.kind == Grant.Kind.DISCOUNT:
        kinds = [kind for kind, nano in bill.left.items() if grant.of in ("", kind) and nano > 0]
        taken = sum(bill.take(kind, int(bill.left[kind] * grant.percent / 100)) for kind in kinds)
        return taken, f"{grant.percent.normalize():f} % off {of}."
    taken = bill.take(grant.of, left[grant.pk])
    left[grant.pk] -= taken
    until = f" until {grant.valid_to:%Y-%m-%d}" if grant.valid_to else ""
    return taken, f"A credit for {of}{until}; {money.shown(left[grant.pk])} of {money.shown(grant.amount)} are left."
