"""For an instance, compute, start-up and idle are its billed seconds times its price: each day, to the nano."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.core.ids import new_id
from portal.pipelines.attempts import Attempt
from portal.usage import prices, services, settling
from portal.usage.accrual import accrued, between, billed_until, days
from portal.usage.models import Kind, Price, Span, UsageDay, UsageRecord
from portal.workspaces.models import Workspace
from tests.unit.portal.pipelines.conftest import INSTANCE, only_step

START = datetime(2026, 11, 30, 22, 17, 3, 123456, tzinfo=UTC)
SECOND = timedelta(seconds=1)
RATE = 6_667  # t3.small: 0.024 dollars an hour
seconds = st.integers(0, 4 * 3_600_000_000).map(lambda micros: timedelta(microseconds=micros))


@pytest.fixture
def span(workspace: Workspace) -> Span:
    return Span.objects.create(
        kind="instance",
        owner=workspace.owner,
        workspace=workspace,
        instance_id=INSTANCE,
        region="eu-central-1",
        size="t3.small",
        began_at=START,
        ready_at=START + 41 * SECOND,
        seen_at=START,
    )


def attempt(span: Span, begin: timedelta, length: timedelta, slots: int = 2) -> Attempt:
    return Attempt(
        step=new_id(),
        run="",
        workspace=span.workspace_id,
        owner=span.owner_id,
        script="",
        attempt=1,
        execution=1,
        instance_id=INSTANCE,
        started_at=START + begin,
        finished_at=START + begin + length,
        slots=slots,
        instance_type="t3.small",
        region="eu-central-1",
    )


def told(span: Span, *ended: Attempt) -> None:
    for one in ended:
        records = services.records_of(one)
        for record in records:
            record.run_id = None
        services.records_add(records=records)
    UsageRecord.objects.update(created_at=START + timedelta(hours=9))  # it is told after whatever was settled before


def settle(span: Span, at: datetime) -> None:
    span.refresh_from_db()
    settling.span_settle(span=span, at=at)


def of_kind(kind: str) -> int:
    return UsageRecord.objects.filter(kind=kind).aggregate(total=Sum("nano"))["total"] or 0


def total() -> int:
    return sum(of_kind(kind) for kind in (Kind.COMPUTE, Kind.START_UP, Kind.IDLE))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    attempts=st.lists(st.tuples(seconds, seconds), max_size=6),
    looks=st.lists(seconds, max_size=5),
    late=st.booleans(),
    length=seconds,
)
def test_the_parts_are_the_whole_however_often_it_is_looked_at(
    span: Span, attempts: list[Any], looks: list[timedelta], late: bool, length: timedelta
) -> None:
    """Across the end of a month; ends of steps are told in between or after all."""
    UsageRecord.objects.all().delete()
    UsageDay.objects.all().delete()
    Span.objects.update(ended_at=None, settled_at=None, settled=False)
    ended = START + length
    found = [attempt(span, begin, long) for begin, long in attempts]
    for look in sorted(looks):
        if not late:
            told(span, *(one for one in found if one.finished_at <= START + look))
        settle(span, START + look)
    Span.objects.update(ended_at=ended)
    settle(span, max(START + look for look in [*looks, length]) + SECOND)
    told(span, *found)
    settle(span, START + timedelta(hours=9))
    billed = billed_until(START, ended) - START
    assert billed % SECOND == timedelta(0)
    assert total() == billed // SECOND * RATE
    tariff = prices.tariff("eu-central-1", Price.Kind.INSTANCE, "t3.small")
    costs = {day: between(tariff, START, since, to).nano for day, since, to in days(START, START + billed)}
    for day in UsageDay.objects.values_list("day", flat=True).distinct():
        assert UsageDay.objects.filter(day=day).aggregate(total=Sum("nano"))["total"] == costs.get(day, 0)
    assert UsageDay.objects.aggregate(total=Sum("nano"))["total"] == total()


def test_start_up_is_from_the_launch_to_the_first_word(span: Span) -> None:
    Span.objects.update(ended_at=START + 100 * SECOND)
    settle(span, START + 200 * SECOND)
    assert (of_kind(Kind.START_UP), of_kind(Kind.IDLE)) == (41 * RATE, 59 * RATE)


def test_what_is_ready_or_has_ended_is_settled_at_once(span: Span) -> None:
    Span.objects.update(ready_at=None)
    assert settling.changes_settle() == 0
    Span.objects.update(ready_at=START + SECOND, began_at=START - timedelta(days=30))
    assert (settling.changes_settle(), settling.changes_settle()) == (1, 0)
    Span.objects.update(ended_at=START + timedelta(days=300))
    assert settling.changes_settle() == 1


def test_what_runs_is_not_idle_and_not_counted_twice_when_it_ends(span: Span, run_started: Any) -> None:
    step = only_step(run_started())
    type(step).objects.update(state="running", instance_id=INSTANCE, started_at=START + 100 * SECOND)
    settle(span, START + 200 * SECOND)
    assert of_kind(Kind.IDLE) == 59 * RATE + 50 * RATE
    type(step).objects.update(state="succeeded")
    told(span, attempt(span, 100 * SECOND, 100 * SECOND))
    settle(span, START + 200 * SECOND)
    assert total() == 200 * RATE


def test_an_end_that_is_learnt_late_takes_back_what_was_counted_after_it(span: Span) -> None:
    settle(span, START + timedelta(hours=3))
    Span.objects.update(ended_at=START + 90 * SECOND)
    settle(span, START + timedelta(hours=4))
    assert total() == 90 * RATE
    assert (UsageDay.objects.filter(day="2026-12-01").aggregate(total=Sum("nano"))["total"]) == 0


def test_a_minute_is_billed_at_least(span: Span) -> None:
    Span.objects.update(ended_at=START + 2 * SECOND, ready_at=None)
    settle(span, START + 300 * SECOND)
    assert total() == 60 * RATE


@pytest.mark.usefixtures("list_prices")
def test_a_new_price_counts_from_its_instant_on(span: Span) -> None:
    Price.objects.create(
        region="eu-central-1",
        kind="instance",
        size="t3.small",
        nano=36_000_000,
        valid_from=START + 100 * SECOND,
    )
    prices.forget_prices()
    Span.objects.update(ended_at=START + 150 * SECOND)
    settle(span, START + 300 * SECOND)
    assert total() == 100 * RATE + 50 * 10_000


def test_a_disk_costs_its_share_of_the_month(span: Span) -> None:
    Span.objects.update(kind="volume", gb=20, ended_at=START + timedelta(hours=2))
    settle(span, START + timedelta(hours=3))
    found = UsageRecord.objects.order_by("day").values_list("quantity", flat=True)
    assert sum(found) in (20 * 7_200, 20 * 7_199)  # whole seconds of each day
    assert list(UsageRecord.objects.values_list("kind", flat=True)) == [Kind.VOLUME] * 2


def test_the_parts_of_a_slot_add_up_to_it() -> None:
    tariff = prices.Tariff((START,), (RATE,))
    cuts = [START + timedelta(microseconds=micros) for micros in (0, 333_333, 1_000_001, 7_777_777)]
    parts = sum(between(tariff, START, a, b, slots=3).nano for a, b in pairwise(cuts))
    assert parts == accrued(tariff, START, cuts[-1], slots=3).nano
