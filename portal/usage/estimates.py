"""What something will cost, before it is begun."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.db.models import Avg, ExpressionWrapper, F, fields
from django.utils import timezone

from portal.usage import prices
from portal.usage.models import Span
from portal.workspaces.models import Workspace

# How long an instance takes from its launch to its first word where nothing is known yet, and at the most.
START_UP = 90.0


@dataclass(frozen=True)
class Estimate:
    """Nano-dollars: what it will likely cost, and the most that it can."""

    likely: int
    most: int


def estimate(
    *, workspace: Workspace, shards: int, seconds: float, nodes: int, most_seconds: float | None = None, tries: int = 1
) -> Estimate:
    """For ``shards`` shards of so many ``seconds`` on ``nodes`` instances that are started for them.

    ``most_seconds`` is the limit of a shard (unless given, ``seconds`` is), ``tries`` how often each may be tried. Each
    takes one slot of an instance. Data out is not foreseen.
    """
    rate = prices.instance_rate(workspace.cloud_account.region, workspace.instance_type, timezone.now())
    slots = max(workspace.slots, 1)
    likely = _up(shards * seconds * rate / slots) + _up(nodes * start_up_seconds(workspace) * rate)
    longest = seconds if most_seconds is None else most_seconds
    most = shards * tries * _up(longest * rate / slots) + _up(nodes * settings.READY_WITHIN * rate)
    return Estimate(likely, max(likely, most))


def start_up_seconds(workspace: Workspace) -> float:
    """How long instances of this workspace took on average until their first word."""
    took = ExpressionWrapper(F("ready_at") - F("began_at"), output_field=fields.DurationField())
    found = Span.objects.filter(workspace=workspace, kind=Span.Kind.INSTANCE, ready_at__isnull=False)
    average = found.aggregate(average=Avg(took))["average"]
    return float(average.total_seconds()) if average is not None else START_UP


def _up(nano: float) -> int:
    return int(nano) + (nano > int(nano))
