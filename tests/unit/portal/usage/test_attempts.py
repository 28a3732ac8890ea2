"""What instances work on is written down once, with what it cost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.accounts.models import User
from portal.pipelines import dispatch, sweeps
from portal.pipelines.models import Run, State, Step
from portal.usage import prices
from portal.usage.models import Kind, UsageDay, UsageRecord
from portal.workspaces.models import Instance, Workspace
from tests.unit.portal.pipelines.conftest import Agent, only_step

HOUR = timedelta(hours=1)


@pytest.fixture
def agent(workspace: Workspace, django_capture_on_commit_callbacks: Any) -> Agent:
    Instance.objects.update(instance_type="t3.medium", slots=2)
    return Agent(workspace, django_capture_on_commit_callbacks)


def began(step: Step, ago: timedelta) -> float:
    """Have it handed out and begun so long ago; when that was."""
    at = timezone.now() - ago
    Step.objects.filter(pk=step.pk).update(released_at=at, created_at=at)
    return at.timestamp()


def compute(**which: Any) -> UsageRecord:
    return UsageRecord.objects.get(kind=Kind.COMPUTE, **which)


def test_an_attempt_costs_its_share_of_its_instance(agent: Agent, run_started: Any, owner: User) -> None:
    run = run_started()
    step = only_step(run)
    start = began(step, timedelta(minutes=1))
    event = agent.finished(step, bytes_out=prices.GIB, bytes_in=5, bytes_fetched=3)
    agent.say(type(event)(**{**event.__dict__, "started_at": start, "finished_at": start + 60}))
    rate = prices.instance_rate("eu-central-1", "t3.medium", timezone.now())
    assert rate == 13_333  # 0.048 dollars an hour
    nano = UsageRecord.objects.filter(kind=Kind.COMPUTE).values_list("nano", "quantity")
    assert abs(sum(row[0] for row in nano) - 60 * rate // 2) <= 1
    assert abs(sum(row[1] for row in nano) - 30_000) <= 1
    sent = UsageRecord.objects.get(kind=Kind.SENT)
    assert (sent.nano, sent.quantity, sent.run, sent.owner) == (0, prices.GIB, run, owner)
    assert sent.script == run.script_id
    moved = UsageRecord.objects.filter(kind__in=(Kind.FETCHED, Kind.INGRESS)).order_by("kind")
    assert list(moved.values_list("kind", "quantity", "nano")) == [("fetched", 3, 0), ("ingress", 2, 0)]
    assert not UsageRecord.objects.filter(kind=Kind.EGRESS).exists()


def test_what_is_told_twice_counts_once(agent: Agent, run_started: Any) -> None:
    step = only_step(run_started())
    began(step, HOUR)
    event = agent.finished(step)
    agent.say(event)
    before = list(UsageRecord.objects.values_list("key", "nano"))
    agent.say(event, agent.finished(step))
    assert list(UsageRecord.objects.values_list("key", "nano")) == before
    assert sum(UsageDay.objects.values_list("nano", flat=True)) == sum(nano for _, nano in before)


def test_each_try_is_written_down(agent: Agent, run_started: Any) -> None:
    step = only_step(run_started())
    Step.objects.filter(pk=step.pk).update(retries={"count": 1, "backoff_seconds": 0, "exit_codes": []})
    agent.say(agent.started(step), agent.finished(step, "failed", exit_code=1))
    step.refresh_from_db()
    assert len(step.tries) == 1
    assert compute().key.startswith(f"{step.pk}:1:1:")


def test_a_run_with_a_limit_knows_what_is_spent(agent: Agent, run_started: Any) -> None:
    run = run_started()
    Run.objects.filter(pk=run.pk).update(cost_limit=10**9)
    began(only_step(run), HOUR)
    agent.say(agent.finished(only_step(run)))
    run.refresh_from_db()
    assert run.cost_spent == sum(UsageRecord.objects.values_list("nano", flat=True)) > 0


def test_an_agent_cannot_tell_of_a_time_before_it_was_asked(agent: Agent, run_started: Any) -> None:
    step = only_step(run_started())
    began(step, timedelta(minutes=1))
    event = agent.finished(step)
    agent.say(type(event)(**{**event.__dict__, "started_at": 0.0}))
    assert sum(UsageRecord.objects.values_list("quantity", flat=True)) <= 31_000


def test_a_lost_step_costs_until_its_instance_was_last_heard(agent: Agent, run_started: Any) -> None:
    step = only_step(run_started())
    began(step, HOUR)
    agent.say(agent.started(step))
    now = timezone.now()
    Step.objects.update(started_at=now - timedelta(minutes=30), seen_at=now - timedelta(minutes=20))
    step.refresh_from_db()
    assert sweeps.step_end(step, State.LOST, "instance_lost", "")
    assert sum(UsageRecord.objects.values_list("quantity", flat=True)) in (300_000, 299_999)


def test_what_is_handed_out_again_was_an_attempt_too(agent: Agent, run_started: Any) -> None:
    step = only_step(run_started())
    agent.say(agent.started(step))
    step.refresh_from_db()
    assert dispatch.step_return(step=step)
    assert UsageRecord.objects.filter(kind=Kind.COMPUTE).count() == 1


def test_what_no_instance_began_costs_nothing(run_started: Any) -> None:
    step = only_step(run_started())
    assert sweeps.step_end(step, State.CANCELLED, "cancelled", "")
    assert not UsageRecord.objects.exists()
