"""What went out of the cloud, and what was asked of buckets, as S3 and EC2 have counted it by the hour.

AWS bills what leaves it. S3 counts all downloads, also those by instances beside it, which are free; EC2 counts all
that an instance sends, also into that bucket. So what agents say that they fetched and sent for steps is taken off:

    data out = (downloaded - fetched by agents) + (sent by instances - sent by agents to the bucket), neither below 0

Each day is looked at by itself. What it should be less what is recorded becomes another record, which may be negative:
what CloudWatch or an agent says late is caught up with, and so is what was missed while Orca was away.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db import transaction
from django.db.models import Min, Q, QuerySet, Sum
from django.utils import timezone

from portal.clouds.services import account_handle
from portal.core.errors import CloudFault
from portal.gateways import aws_metrics
from portal.gateways.aws_metrics import Traffic
from portal.pipelines.models import State, Step
from portal.usage import prices
from portal.usage.accrual import day_of, midnight
from portal.usage.models import Kind, Span, UsageDay, UsageRecord
from portal.usage.services import BYTES, REQUESTS, records_add
from portal.workspaces.models import Workspace

logger = logging.getLogger(__name__)
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
# What was missed while Orca was away is fetched as far back.
LOOK_BACK = timedelta(days=7)
# An agent says at a step's end what it moved for it. Until then it looks like data out: so long it is waited for.
PATIENCE = timedelta(hours=24)
# What an agent sends that is no output, and goes to services of its own region, which is free: polling and heartbeats
# of an instance in an hour, what it says of an attempt, and what TCP and TLS add to what it moves, either way.
CHATTER = 4 * 1024 * 1024
SAID_OF_ATTEMPT = 16 * 1024
ADDED_PERCENT = 5


def traffic_measure(*, at: datetime | None = None) -> int:
    """Bring what was measured until now into the records of all workspaces; how many records are new."""
    now = at or timezone.now()
    since = midnight(day_of(now) - LOOK_BACK)
    there = Q(state__in=[*Workspace.ALIVE, "stopping", "stopped", "failed", "planning"]) | Q(data_kept=True)
    there |= Q(pk__in=_spans(since).values("workspace"))
    count = 0
    for workspace in Workspace.objects.filter(there).select_related("cloud_account"):
        instances = _spans(since - _DAY).filter(workspace=workspace, kind=Span.Kind.INSTANCE)
        wanted = sorted(set(instances.values_list("instance_id", flat=True)))
        handle = account_handle(workspace.cloud_account)
        try:
            hours = aws_metrics.traffic(handle, workspace.bucket, wanted, since - _DAY, now)
        except CloudFault as error:
            logger.warning("traffic of %s: %s", workspace.pk, error.message)
            continue
        count += traffic_settle(workspace=workspace, hours=hours, at=now)
    return count


def _spans(since: datetime) -> QuerySet[Span]:
    """Those that had not ended by then."""
    return Span.objects.filter(Q(ended_at=None) | Q(ended_at__gte=since)).order_by()


@transaction.atomic
def traffic_settle(*, workspace: Workspace, hours: Mapping[datetime, Traffic], at: datetime) -> int:
    """Bring what was measured of one workspace into the records; how many are new."""
    Workspace.objects.select_for_update().get(pk=workspace.pk)  # one at a time: each adds to what is recorded
    first = day_of(at) - LOOK_BACK
    waiting = _waiting_since(workspace, at)
    told = _told(workspace, first - _DAY)
    days = {day: _Day.of(hours, day, waiting) for day in _days(first - _DAY, day_of(at))}
    records = []
    for day in _days(first, day_of(at)):
        out = days[day].out(told[day], told[day - _DAY], days[day - _DAY])
        for kind, should in ((Kind.EGRESS, out), (Kind.REQUEST, days[day].requests), (Kind.READ, days[day].reads)):
            patient = kind == Kind.EGRESS and days[day].waits
            record = _more(workspace, kind, day, should, told[day].get(kind, _Told()), until=at)
            if record is not None and not (patient and record.quantity < 0):
                records.append(record)
    return len(records_add(records=records))


def _days(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + number * _DAY


@dataclass(frozen=True)
class _Told:
    """The records of a kind and a day, added up."""

    quantity: int = 0
    nano: int = 0
    records: int = 0


_OfDay = dict[str, _Told]


@dataclass
class _Day:
    """What was measured on a day; ``waits``: of its last hours it is not known yet what agents had to do with them."""

    downloaded: int = 0
    sent: int = 0
    instance_hours: int = 0
    requests: int = 0
    reads: int = 0
    waits: bool = False

    @classmethod
    def of(cls, hours: Mapping[datetime, Traffic], day: date, waiting: datetime | None) -> _Day:
        found = cls()
        for number in range(24):
            hour = midnight(day) + number * _HOUR
            measured = hours.get(hour, Traffic())
            found.requests += measured.requests
            found.reads += measured.reads
            if waiting is not None and hour >= waiting:
                found.waits = True
                continue
            found.downloaded += measured.downloaded
            found.sent += measured.sent
            found.instance_hours += measured.instances
        return found

    def out(self, told: _OfDay, told_before: _OfDay, before: _Day) -> int:
        """Bytes that left the cloud. What agents moved past midnight, they told of on the day before."""
        fetched, sent = _quantity(told, Kind.FETCHED), _quantity(told, Kind.SENT)
        late_fetched = max(0, _quantity(told_before, Kind.FETCHED) - before.downloaded)
        late_sent = max(0, _quantity(told_before, Kind.SENT) - before.sent)
        moved = fetched + sent + _quantity(told, Kind.INGRESS) + late_sent
        beside = self.instance_hours * CHATTER + told.get(Kind.COMPUTE, _Told()).records * SAID_OF_ATTEMPT
        beside += moved * ADDED_PERCENT // 100
        return max(0, self.downloaded - fetched - late_fetched) + max(0, self.sent - sent - late_sent - beside)


def _quantity(told: _OfDay, kind: Kind) -> int:
    return told.get(kind, _Told()).quantity


def _waiting_since(workspace: Workspace, at: datetime) -> datetime | None:
    """The hour in which the oldest step began that runs there; what it has moved is not known before its end."""
    running = Step.objects.filter(workspace=workspace, state=State.RUNNING, started_at__isnull=False)
    oldest: datetime | None = running.aggregate(began=Min("started_at"))["began"]
    if oldest is None:
        return None
    since = max(oldest, at - PATIENCE)
    return since.replace(minute=0, second=0, microsecond=0)


def _told(workspace: Workspace, first: date) -> dict[date, _OfDay]:
    """What is recorded of each day: what agents said, of whatever script, and what was settled here, of none."""
    settled = Q(kind__in=(Kind.EGRESS, Kind.REQUEST, Kind.READ), script="")
    said = Q(kind__in=(Kind.SENT, Kind.FETCHED, Kind.INGRESS, Kind.COMPUTE))
    rows = UsageDay.objects.filter(settled | said, owner=workspace.owner_id, workspace=workspace, day__gte=first)
    found: dict[date, _OfDay] = {}
    sums = rows.order_by().values("day", "kind")
    for row in sums.annotate(bytes=Sum("quantity"), cost=Sum("nano"), count=Sum("records")):
        found.setdefault(row["day"], {})[row["kind"]] = _Told(row["bytes"], row["cost"], row["count"])
    return _Days(found)


class _Days(dict[date, _OfDay]):
    def __missing__(self, day: date) -> _OfDay:
        return {}


def _more(
    workspace: Workspace, kind: Kind, day: date, should: int, told: _Told, *, until: datetime
) -> UsageRecord | None:
    """What is to be added to the records so that they say what they should."""
    region, begin = workspace.cloud_account.region, midnight(day)
    rate = _RATES[kind](region, begin)
    nano = should * rate // (prices.GIB if kind == Kind.EGRESS else 1)
    if (should, nano) == (told.quantity, told.nano):
        return None
    return UsageRecord(
        owner_id=workspace.owner_id,
        workspace=workspace,
        kind=kind,
        quantity=should - told.quantity,
        unit=BYTES if kind == Kind.EGRESS else REQUESTS,
        rate=rate,
        nano=nano - told.nano,
        began_at=begin,
        ended_at=min(until, begin + _DAY),
        day=day,
        key=f"{kind}:{workspace.pk}:{day:%Y%m%d}:{told.records + 1}",
    )


_RATES = {Kind.EGRESS: prices.egress_rate, Kind.REQUEST: prices.request_rate, Kind.READ: prices.read_rate}
