"""What something will cost, before it is begun."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db.models import Avg, ExpressionWrapper, F, Sum, fields
from django.utils import timezone

from portal.usage import prices
from portal.usage.models import Kind, Span, UsageDay
from portal.workspaces.models import Workspace

# How long an instance takes from its launch to its first word where nothing is known yet, and at the most.
START_UP = 90.0
# How long a step takes of whose script nothing is known.
UNKNOWN = 60.0
REMEMBERED = timedelta(days=30)


@dataclass(frozen=True)
class Estimate:
    """Nano-dollars: what it will likely cost, and the most that it can."""

    likely: int
    most: int


def estimate(
    *, workspace: Workspace, shards: int, seconds: float, nodes: int, most_of_shard: int | None = None
) -> Estimate:
    """For ``shards`` shards of so many ``seconds`` on ``nodes`` instances that are started for them.

    Each takes one slot of an instance; data out is not foreseen. ``most_of_shard`` is the most that one can cost, with
    all of its tries (`bounds.most_of_step`); unless given, it is what so many seconds cost.
    """
    rate = prices.instance_rate(workspace.cloud_account.region, workspace.instance_type, timezone.now())
    slots = max(workspace.slots, 1)
    likely = _up(shards * seconds * rate / slots) + _up(nodes * start_up_seconds(workspace) * rate)
    dearest = _up(seconds * rate / slots) if most_of_shard is None else most_of_shard
    most = shards * dearest + nodes * settings.READY_WITHIN * rate
    return Estimate(likely, max(likely, most))


def likely_seconds(*, workspace: Workspace, script: str) -> float:
    """How long an attempt at a step of this script took on average in the last weeks; `UNKNOWN` where none was."""
    since = timezone.now().date() - REMEMBERED
    days = UsageDay.objects.filter(owner=workspace.owner_id, day__gte=since, kind=Kind.COMPUTE, script=script)
    sums = days.aggregate(ms=Sum("quantity"), count=Sum("records"))
    return sums["ms"] * max(workspace.slots, 1) / sums["count"] / 1_000 if sums["count"] else UNKNOWN


def start_up_seconds(workspace: Workspace) -> float:
    """How long instances of this workspace took on average until their first word."""
    took = ExpressionWrapper(F("ready_at") - F("began_at"), output_field=fields.DurationField())
    found = Span.objects.filter(workspace=workspace, kind=Span.Kind.INSTANCE, ready_at__isnull=False)
    average = found.aggregate(average=Avg(took))["average"]
    return float(average.total_seconds()) if average is not None else START_UP


def _up(nano: float) -> int:
    return int(nano) + (nano > int(nano))
