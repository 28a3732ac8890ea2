"""What leaves the cloud is what S3 and EC2 count, less what agents moved inside of it; each thing once, late or not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import Sum

from portal.core.errors import CloudFault
from portal.gateways import aws_metrics
from portal.gateways.aws_metrics import Traffic
from portal.pipelines.models import State, Step
from portal.usage import traffic
from portal.usage.models import Kind, Span, UsageRecord
from portal.usage.prices import GIB
from portal.usage.traffic import CHATTER, traffic_measure, traffic_settle
from portal.workspaces.models import Workspace
from tests.unit.portal.pipelines.conftest import INSTANCE
from tests.unit.portal.usage.conftest import Measured
from tests.unit.portal.usage.statement_made import used

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)
BEFORE = NOON - DAY


def out(day: datetime = NOON) -> int:
    """Bytes of data out that are recorded of a day."""
    rows = UsageRecord.objects.filter(kind=Kind.EGRESS, day=day.date())
    return rows.aggregate(sum=Sum("quantity"))["sum"] or 0


def settle(workspace: Workspace, hours: Mapping[datetime, Traffic], *, at: datetime = NOON + HOUR) -> int:
    return traffic_settle(workspace=workspace, hours=hours, at=at)


def span(workspace: Workspace, began: datetime) -> Span:
    return Span.objects.create(
        kind=Span.Kind.INSTANCE,
        owner=workspace.owner,
        workspace=workspace,
        instance_id=INSTANCE,
        region="eu-central-1",
        size="t3.small",
        began_at=began,
        seen_at=began,
    )


def test_what_agents_fetch_is_free_and_what_others_download_is_not(workspace: Workspace) -> None:
    used(workspace, Kind.FETCHED, 0, quantity=3 * GIB)
    assert settle(workspace, {NOON: Traffic(downloaded=5 * GIB)}) == 1
    record = UsageRecord.objects.get(kind=Kind.EGRESS)
    assert (record.quantity, record.nano, record.unit) == (2 * GIB, 180_000_000, "bytes")
    assert (record.owner, record.workspace, record.run, record.script) == (workspace.owner, workspace, None, "")


def test_what_instances_send_counts_but_for_outputs_and_chatter(workspace: Workspace) -> None:
    used(workspace, Kind.SENT, 0, quantity=GIB)
    chatter = 2 * CHATTER + GIB * traffic.ADDED_PERCENT // 100
    hours = {NOON - HOUR: Traffic(sent=GIB, instances=1), NOON: Traffic(sent=GIB + 5_000 + chatter, instances=1)}
    settle(workspace, hours)
    assert out() == GIB + 5_000


def test_each_side_is_nothing_at_least(workspace: Workspace) -> None:
    used(workspace, Kind.FETCHED, 0, quantity=9 * GIB)
    used(workspace, Kind.SENT, 0, quantity=9 * GIB)
    settle(workspace, {NOON: Traffic(downloaded=GIB, sent=GIB, instances=1)})
    assert not UsageRecord.objects.filter(kind=Kind.EGRESS).exists()


def test_a_second_look_adds_nothing_and_a_later_word_takes_back(workspace: Workspace) -> None:
    hours = {NOON: Traffic(downloaded=5 * GIB)}
    assert settle(workspace, hours) == 1
    assert settle(workspace, hours) == 0
    used(workspace, Kind.FETCHED, 0, quantity=4 * GIB)
    assert settle(workspace, hours, at=NOON + 3 * DAY) == 1
    records = UsageRecord.objects.filter(kind=Kind.EGRESS).order_by("key")
    assert list(records.values_list("quantity", flat=True)) == [5 * GIB, -4 * GIB]
    assert sum(records.values_list("nano", flat=True)) == 90_000_000


def test_what_an_agent_told_before_midnight_may_have_been_moved_after_it(workspace: Workspace) -> None:
    used(workspace, Kind.FETCHED, 0, quantity=3 * GIB, day=4)
    used(workspace, Kind.SENT, 0, quantity=3 * GIB, day=4)
    settle(workspace, {BEFORE: Traffic(downloaded=GIB, sent=GIB), NOON: Traffic(downloaded=3 * GIB, sent=2 * GIB)})
    assert (out(BEFORE), out()) == (0, GIB)


@pytest.mark.parametrize(("hours_ago", "counted"), [(0, 1), (30, 2)])
def test_while_a_step_runs_what_it_may_have_fetched_waits_for_a_day(
    workspace: Workspace, run_started: Any, hours_ago: int, counted: int
) -> None:
    run_started()
    Step.objects.update(state=State.RUNNING, started_at=NOON - hours_ago * HOUR)
    hours = {NOON - HOUR: Traffic(downloaded=GIB), NOON: Traffic(downloaded=GIB, reads=7)}
    at = NOON + HOUR + (DAY if hours_ago else timedelta())
    settle(workspace, hours, at=at)
    assert out() == counted * GIB
    assert UsageRecord.objects.get(kind=Kind.READ).quantity == 7


def test_nothing_is_taken_back_while_something_waits(workspace: Workspace, run_started: Any) -> None:
    hours = {NOON: Traffic(downloaded=GIB), NOON + HOUR: Traffic(downloaded=GIB)}
    settle(workspace, {NOON: hours[NOON]}, at=NOON + HOUR)
    run_started()
    Step.objects.update(state=State.RUNNING, started_at=NOON + HOUR)
    used(workspace, Kind.FETCHED, 0, quantity=GIB)  # by another step, which has ended
    settle(workspace, hours, at=NOON + 2 * HOUR)
    assert out() == GIB
    Step.objects.update(state=State.SUCCEEDED)
    settle(workspace, hours, at=NOON + 2 * HOUR)
    assert out() == GIB


def test_everything_is_asked_of_cloudwatch_and_caught_up_with(workspace: Workspace, measured: Measured) -> None:
    span(workspace, NOON - 5 * DAY)
    measured.bucket(NOON - 4 * DAY, BytesDownloaded=GIB, GetRequests=2, HeadRequests=1)
    measured.bucket(NOON, PutRequests=3, PostRequests=1, ListRequests=1, DeleteRequests=9, GetRequests=4)
    measured.instance(NOON - HOUR, CHATTER + 500)
    measured.bucket(NOON - 9 * DAY, BytesDownloaded=GIB)  # too long ago
    assert traffic_measure(at=NOON + HOUR) == 5
    kinds = UsageRecord.objects.order_by("day", "kind").values_list("day", "kind", "quantity", "nano")
    early, late = (NOON - 4 * DAY).date(), NOON.date()
    assert list(kinds) == [
        (early, "egress", GIB, 90_000_000),
        (early, "read", 3, 3 * 430),
        (late, "egress", 500, 500 * 90_000_000 // GIB),
        (late, "read", 4, 4 * 430),
        (late, "request", 5, 5 * 5_400),
    ]
    measured.bucket(NOON, BytesDownloaded=7)  # of the present hour
    assert traffic_measure(at=NOON + HOUR) == 1
    assert traffic_measure(at=NOON + HOUR) == 0


def test_a_cloud_that_does_not_answer_is_asked_again(
    workspace: Workspace, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured.bucket(NOON, BytesDownloaded=GIB)

    def denied(*_: object) -> dict[datetime, Traffic]:
        raise CloudFault("no", code="cloud_denied")

    with monkeypatch.context() as patch:
        patch.setattr(aws_metrics, "traffic", denied)
        assert traffic_measure(at=NOON + HOUR) == 0
    assert traffic_measure(at=NOON + 2 * DAY) == 1
    assert out() == GIB


def test_a_workspace_that_has_gone_is_asked_for_its_last_days(workspace: Workspace, measured: Measured) -> None:
    row = span(workspace, NOON - DAY)
    Span.objects.filter(pk=row.pk).update(ended_at=NOON)
    Workspace.objects.update(state="destroyed")
    measured.bucket(NOON, BytesDownloaded=GIB)
    assert traffic_measure(at=NOON + HOUR) == 1
    assert traffic_measure(at=NOON + 9 * DAY) == 0
