"""The time of instances that no step has paid for yet, and that of disks, brought into the records.

Of an instance each day is looked at by itself: what it cost, less its start-up, less what steps have used of it or are
using now, was idle. What has changed since the last look (a step's end that was told late) becomes another record, plus
or minus. So for each day of an instance compute, start-up and idle are its billed seconds times its price, to the nano.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, F, Q, QuerySet, Sum
from django.utils import timezone

from portal.pipelines.models import State, Step
from portal.usage import prices
from portal.usage.accrual import Amount, between, billed_until, day_of, days, midnight
from portal.usage.models import Kind, Price, Span, UsageRecord
from portal.usage.services import GB_SECONDS, MS, records_add
from portal.workspaces.models import Instance

logger = logging.getLogger(__name__)
# An instance whose agent never speaks is starting up for so long; what is settled before would have to be undone.
START_UP_LASTS = timedelta(hours=1)
# What may still be told of a time that is over.
LATE = timedelta(hours=6)
_DAY = timedelta(days=1)
# A record that was written, but not committed, at the time of the last look.
_ON_ITS_WAY = timedelta(minutes=10)


def spans_settle(*, at: datetime | None = None) -> int:
    """Bring all spans that are not settled into the records, until now; how many there were."""
    rows = Span.objects.filter(settled=False).order_by("began_at")
    return _settle(list(rows.values_list("pk", flat=True)), at or timezone.now())


def changes_settle() -> int:
    """Settle at once what has become ready or has ended since it was last looked at; how many there were."""
    ready = Q(settled_at=None) & (Q(ready_at__isnull=False) | Q(ended_at__isnull=False))
    rows = Span.objects.filter(ready | Q(ended_at__gt=F("settled_at")), settled=False)
    return _settle(list(rows.values_list("pk", flat=True)), timezone.now())


def _settle(span_ids: list[str], now: datetime) -> int:
    for span_id in span_ids:
        with transaction.atomic():
            span_settle(span=Span.objects.select_for_update().get(pk=span_id), at=now)
    return len(span_ids)


def span_settle(*, span: Span, at: datetime) -> None:
    """Settle one span, which the caller has locked, until ``at`` or its end."""
    until = min(at, span.ended_at) if span.ended_at else at
    if span.settled or until < span.began_at or until == span.began_at != span.ended_at:
        return
    if span.kind == Span.Kind.VOLUME:
        records_add(records=_volume_records(span, until))
    else:
        if span.ready_at is None and span.ended_at is None and at - span.began_at < START_UP_LASTS:
            return
        _instance_settle(span, until)
    settled = span.ended_at is not None and at >= span.ended_at + LATE
    Span.objects.filter(pk=span.pk).update(settled_at=at, settled=settled)


def _volume_records(span: Span, until: datetime) -> list[UsageRecord]:
    """One record for each whole day, and one for the last part of a day once it is over."""
    records = []
    begin = max(span.began_at, midnight(day_of(span.settled_at))) if span.settled_at else span.began_at
    for day, since, to in days(begin, until):
        if to < midnight(day + _DAY) and span.ended_at is None:
            break
        tariff = prices.tariff(span.region, Price.Kind.VOLUME)
        seconds = (to - since) // timedelta(seconds=1)
        told = {"quantity": span.gb * seconds, "unit": GB_SECONDS, "rate": tariff.at(since)}
        nano = span.gb * seconds * tariff.at(since) // seconds_of_month(day)
        records.append(_record(span, Kind.VOLUME, f"v:{span.pk}:{day:%Y%m%d}", since, to, nano=nano, **told))
    return records


def seconds_of_month(day: date) -> int:
    """A GB-month is a GB for all of the month that it lies in, as AWS counts."""
    first = day.replace(day=1)
    after = (first + timedelta(days=32)).replace(day=1)
    return (after - first).days * 86_400


@dataclass(frozen=True)
class _Parts:
    start_up: Amount
    idle: Amount


def _instance_settle(span: Span, until: datetime) -> None:
    end = billed_until(span.began_at, span.ended_at) if span.ended_at and until == span.ended_at else until
    running = _running(span, until)
    for day in _days_to_settle(span, end):
        since = max(span.began_at, midnight(day))
        to = max(since, min(end, midnight(day + _DAY)))
        parts = _parts(span, day, end, until, running)
        recorded = _recorded(span, day)
        records = []
        for kind, should in ((Kind.START_UP, parts.start_up), (Kind.IDLE, parts.idle)):
            count, before = recorded.get(kind, (0, Amount()))
            if more := should - before:
                key = f"{kind}:{span.pk}:{day:%Y%m%d}:{count + 1}"
                told: dict[str, Any] = {"quantity": more.ms, "unit": MS, "nano": more.nano}
                rate = prices.instance_rate(span.region, span.size, since)
                records.append(_record(span, kind, key, since, to, rate=rate, **told))
        records_add(records=records)


def _days_to_settle(span: Span, end: datetime) -> list[date]:
    """Those that were not over when it was last looked at, and those of which something was told since.

    An end that was not known then may lie before: what was counted after it is taken back.
    """
    last = max(span.settled_at, end) if span.settled_at else end
    first = max(span.began_at, min(span.settled_at, end)) if span.settled_at else span.began_at
    told = steps_of(span)
    if span.settled_at:
        told = told.filter(created_at__gte=span.settled_at - _ON_ITS_WAY)
    return sorted({day for day, _, _ in days(first, last)} | set(told.order_by().values_list("day", flat=True)))


def steps_of(span: Span) -> QuerySet[UsageRecord]:
    """What steps that have ended used of it."""
    found = UsageRecord.objects.filter(instance_id=span.instance_id, kind=Kind.COMPUTE, workspace=span.workspace_id)
    following = _following(span)
    found = found.filter(began_at__gte=span.began_at)
    return found if following is None else found.filter(began_at__lt=following)


def _parts(span: Span, day: date, end: datetime, until: datetime, running: Iterable[tuple[datetime, int]]) -> _Parts:
    since, to = max(span.began_at, midnight(day)), min(end, midnight(day + _DAY))
    tariff = prices.tariff(span.region, Price.Kind.INSTANCE, span.size)
    whole = between(tariff, span.began_at, since, to) if since < to else Amount()
    ready = min(max(span.ready_at or until, span.began_at), to)
    start_up = between(tariff, span.began_at, since, ready) if ready > since else Amount()
    sums = steps_of(span).filter(day=day).aggregate(nano=Sum("nano"), ms=Sum("quantity"))
    used = Amount(sums["nano"] or 0, sums["ms"] or 0)
    for began, slots in running:
        if max(began, since) < min(to, until):
            used += between(tariff, began, since, min(to, until), slots=slots)
    return _Parts(start_up, whole - start_up - used)


def _following(span: Span) -> datetime | None:
    """When the same instance was started again."""
    later = Span.objects.filter(
        workspace=span.workspace_id, instance_id=span.instance_id, kind=span.kind, began_at__gt=span.began_at
    )
    return later.order_by("began_at").values_list("began_at", flat=True).first()


def _running(span: Span, until: datetime) -> list[tuple[datetime, int]]:
    """When the steps that run there began, and how many parts the instance has."""
    steps = Step.objects.filter(workspace=span.workspace_id, instance_id=span.instance_id, state=State.RUNNING)
    begun = steps.filter(started_at__gte=span.began_at, started_at__lt=until).values_list("started_at", flat=True)
    row = Instance.objects.filter(workspace=span.workspace_id, instance_id=span.instance_id).first()
    slots = (row.slots if row else 0) or span.workspace.slots or 1
    if (following := _following(span)) is not None:
        begun = begun.filter(started_at__lt=following)
    return [(began, slots) for began in begun if began is not None]


def _recorded(span: Span, day: date) -> dict[str, tuple[int, Amount]]:
    rows = (
        UsageRecord.objects.filter(span=span, day=day)
        .order_by()
        .values("kind")
        .annotate(count=Count("pk"), total=Sum("nano"), ms=Sum("quantity"))
    )
    return {row["kind"]: (row["count"], Amount(row["total"], row["ms"])) for row in rows}


def _record(span: Span, kind: str, key: str, begin: datetime, end: datetime, **told: Any) -> UsageRecord:
    return UsageRecord(
        owner_id=span.owner_id,
        workspace_id=span.workspace_id,
        run_id=span.run_id if kind == Kind.START_UP else None,
        span=span,
        instance_id=span.instance_id,
        kind=kind,
        key=key,
        began_at=begin,
        ended_at=end,
        day=day_of(begin),
        **told,
    )
