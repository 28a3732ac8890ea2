"""However many look at the same time, what was measured is written down once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db.models import Sum

from portal.gateways.aws_metrics import Traffic
from portal.usage.models import Kind, UsageDay, UsageRecord
from portal.usage.prices import GIB
from portal.usage.traffic import traffic_settle
from portal.workspaces.models import Workspace
from tests.unit.portal.usage.test_budget_races import raced, workspace

__all__ = ["workspace"]
pytestmark = pytest.mark.django_db(transaction=True)
NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)


def test_looks_that_race_count_once(workspace: Workspace) -> None:
    hours = {NOON: Traffic(downloaded=GIB, requests=7)}
    raced(lambda _: traffic_settle(workspace=workspace, hours=hours, at=NOON + timedelta(hours=1)), racers=4)
    for model in (UsageRecord, UsageDay):
        rows = model.objects.order_by("kind").values_list("kind").annotate(sum=Sum("quantity"))
        assert list(rows) == [(Kind.EGRESS, GIB), (Kind.REQUEST, 7)]
