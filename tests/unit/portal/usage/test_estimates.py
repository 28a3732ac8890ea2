"""What something will cost, before it begins, and what it costs while it runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from portal.accounts.models import User
from portal.pipelines.models import Step
from portal.usage.estimates import UNKNOWN, estimate, likely_seconds, start_up_seconds
from portal.usage.models import Span
from portal.usage.selectors import run_cost
from portal.workspaces.models import Instance, Workspace
from tests.unit.portal.pipelines.conftest import INSTANCE
from tests.unit.portal.usage.statement_made import used

RATE = 6_667  # t3.small, two slots


def test_shards_on_nodes_that_are_started_for_them(workspace: Workspace, settings: Settings) -> None:
    settings.READY_WITHIN = 100
    found = estimate(workspace=workspace, shards=10, seconds=60, nodes=3)
    assert found.likely == 10 * 60 * RATE // 2 + 3 * 90 * RATE
    assert found.most == 10 * 60 * RATE // 2 + 3 * 100 * RATE
    most = estimate(workspace=workspace, shards=10, seconds=60, nodes=3, most_of_shard=10**9).most
    assert most == 10 * 10**9 + 3 * 100 * RATE


def test_what_has_been_is_what_is_likely(workspace: Workspace, owner: User) -> None:
    assert likely_seconds(workspace=workspace, script="a") == UNKNOWN
    today = timezone.now().date()
    used(workspace, "compute", 1, quantity=4_000, script="a", day=today.day, month=today.month)
    used(workspace, "compute", 1, quantity=2_000, script="a", day=today.day, month=today.month)
    assert likely_seconds(workspace=workspace, script="a") == pytest.approx(6.0)  # two slots


def test_how_long_instances_took_to_begin(workspace: Workspace, owner: User) -> None:
    assert start_up_seconds(workspace) == 90
    now = timezone.now()
    for number, seconds in enumerate((20, 40)):
        Span.objects.create(
            kind="instance",
            owner=owner,
            workspace=workspace,
            instance_id=f"i-{number}",
            began_at=now,
            ready_at=now + timedelta(seconds=seconds),
            seen_at=now,
        )
    assert start_up_seconds(workspace) == 30


def test_what_runs_costs_more_with_each_second(workspace: Workspace, run_started: Any) -> None:
    run = run_started()
    assert run_cost(run).total == 0
    Instance.objects.update(instance_type="t3.small", slots=2)
    Step.objects.update(state="running", instance_id=INSTANCE, started_at=timezone.now() - timedelta(seconds=100))
    run.state = "running"
    assert 50 * RATE <= run_cost(run).compute <= 60 * RATE
