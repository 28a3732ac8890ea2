"""What was used and what it cost. Money is in nano-dollars."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import TruncMonth
from django.utils import timezone

from portal.accounts.models import User
from portal.core.errors import NotFound
from portal.pipelines.models import Run, Script, State, Step
from portal.usage import prices
from portal.usage.accrual import accrued, day_of
from portal.usage.models import Kind, Price, UsageDay, UsageRecord
from portal.usage.statements import Statement, month_after, statement_of
from portal.workspaces.models import Instance


@dataclass(frozen=True)
class Cost:
    """What a run costs, until now.

    What its outputs cost while they are kept, and when somebody downloads them, is on the workspace's account:
    ``egress`` is what runs of earlier releases were charged for sending them to the bucket.
    """

    compute: int = 0
    start_up: int = 0
    storage: int = 0
    egress: int = 0
    ingress: int = 0

    @property
    def total(self) -> int:
        return self.compute + self.start_up + self.storage + self.egress + self.ingress


def run_cost(run: Run) -> Cost:
    """What the attempts that have ended did cost, and those that run have until now."""
    rows = UsageRecord.objects.filter(run=run.pk).order_by().values_list("kind").annotate(total=Sum("nano"))
    found: dict[str, int] = dict(rows)
    names = {Kind.COMPUTE, Kind.START_UP, Kind.STORAGE, Kind.EGRESS, Kind.INGRESS}
    known = {str(kind): total for kind, total in found.items() if kind in names}
    if run.state == State.RUNNING:
        known["compute"] = known.get("compute", 0) + running_cost(Step.objects.filter(run=run.pk))
    return Cost(**known)


def running_cost(steps: QuerySet[Step], *, at: datetime | None = None) -> int:
    """What those of the steps that run now have cost until now, or will have until ``at``."""
    now = at or timezone.now()
    rows = steps.filter(state=State.RUNNING, started_at__isnull=False).order_by()
    begun = list(rows.values_list("workspace_id", "instance_id", "started_at"))
    if not begun:
        return 0
    instances = {
        (row.workspace_id, row.instance_id): row
        for row in Instance.objects.filter(
            workspace__in={row[0] for row in begun}, instance_id__in={row[1] for row in begun}
        ).select_related("workspace__cloud_account")
    }
    total = 0
    for workspace_id, instance_id, started in begun:
        row = instances.get((workspace_id, instance_id))
        if row is None or started is None:
            continue
        size, region = row.instance_type or row.workspace.instance_type, row.workspace.cloud_account.region
        slots = row.slots or row.workspace.slots or 1
        total += accrued(prices.tariff(region, Price.Kind.INSTANCE, size), started, now, slots=slots).nano
    return total


def month_named(name: str) -> date:
    """``2026-11`` as its first day. Raises ``NotFound`` for what is no month, or is still to come."""
    try:
        first = datetime.strptime(name, "%Y-%m").date()  # noqa: DTZ007 (a day has no zone)
    except ValueError:
        first = date.max
    if name != f"{first:%Y-%m}" or first > day_of(timezone.now()) or first.year < 2000:
        raise NotFound("There is no statement of this month.")
    return first


def this_month() -> date:
    """The first day of the month that it is (UTC)."""
    return day_of(timezone.now()).replace(day=1)


def months_of(owner: User) -> list[tuple[date, int]]:
    """The months in which something was used, the newest first, with what it cost before deductions; and this month."""
    rows = UsageDay.objects.filter(owner=owner).annotate(month=TruncMonth("day")).order_by().values_list("month")
    found = dict(rows.annotate(total=Sum("nano")))
    return sorted({this_month(): 0, **found}.items(), reverse=True)


def months_used() -> list[date]:
    """The months in which anybody used anything, the newest first."""
    rows = UsageDay.objects.annotate(month=TruncMonth("day")).order_by().values_list("month", flat=True)
    return sorted(rows.distinct(), reverse=True)


def statement_get(*, owner: User, month: str) -> Statement:
    """A person's statement of a month such as ``2026-11``. Raises ``NotFound``."""
    return statement_of(owner, month_named(month))


def records_of(owner: User, month: date) -> QuerySet[UsageRecord]:
    """The records behind a statement, the oldest first."""
    rows = UsageRecord.objects.filter(owner=owner, day__gte=month, day__lt=month_after(month))
    return rows.select_related("workspace").order_by("day", "began_at", "id")


@dataclass(frozen=True)
class Share:
    """What somebody, or something, costs the operator."""

    name: str
    nano: int
    ms: int = 0
    more: str = ""

    @property
    def hours(self) -> float:
        """Of whole instances, that its steps took."""
        return self.ms / 3_600_000


def costs_of_users(month: date) -> list[Share]:
    """What each person cost in a month, the dearest first."""
    rows = _of_month(month).values_list("owner__email").annotate(total=Sum("nano"), ms=_time())
    return [Share(email, total, ms or 0) for email, total, ms in rows.order_by("-total")]


def costs_of_scripts(month: date, *, most: int = 200) -> list[Share]:
    """What each script cost in a month, the dearest first."""
    rows = list(
        _of_month(month)
        .exclude(script="")
        .values_list("script", "owner__email")
        .annotate(total=Sum("nano"), ms=_time())
        .order_by("-total")[:most]
    )
    names = script_names(row[0] for row in rows)
    return [Share(names.get(script, script), total, ms or 0, email) for script, email, total, ms in rows]


def _of_month(month: date) -> QuerySet[UsageDay]:
    return UsageDay.objects.filter(day__gte=month, day__lt=month_after(month)).order_by()


def _time() -> Any:
    return Sum("quantity", filter=Q(kind=Kind.COMPUTE))


def script_names(ids: Iterable[str]) -> dict[str, str]:
    """The names of scripts by their ids."""
    return dict(Script.objects.filter(pk__in=set(ids)).values_list("pk", "name"))
