"""A shard that takes much longer than the others gets a twin; the first good end counts, the other is stopped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from agents.orca_agent.protocol import Task
from portal.jobs import selectors
from portal.jobs.models import Job
from portal.jobs.stragglers import stragglers_sweep
from portal.pipelines.models import Step
from portal.workspaces.models import Instance, Workspace
from tests.unit.portal.jobs.conftest import Agent, shard_end
from tests.unit.portal.pipelines.conftest import queued_tasks

pytestmark = pytest.mark.django_db


@pytest.fixture
def slow(split: Callable[..., Job], agent: Agent, workspace: Workspace) -> Job:
    """Of three shards two have ended; the third has been running for long."""
    workspace.instances.update(slots=9)
    job = split(shards={"most_items": 1}, retries={"count": 0})
    one, two, three = Step.objects.filter(run=job.run_id).order_by("position")
    shard_end(agent, one)
    shard_end(agent, two)
    agent.say(agent.started(three))
    Step.objects.filter(pk=three.pk).update(started_at=timezone.now() - timedelta(seconds=100))
    return job


def pair(job: Job) -> tuple[Step, Step]:
    first, twin = Step.objects.filter(run=job.run_id, position=3).order_by("created_at")
    return first, twin


@pytest.fixture
def twins(slow: Job, django_capture_on_commit_callbacks: Any) -> Job:
    with django_capture_on_commit_callbacks(execute=True):
        assert stragglers_sweep() == 1
    return slow


def test_a_slow_shard_gets_one_twin(twins: Job) -> None:
    first, twin = pair(twins)
    assert (twin.state, twin.superseded, twin.data) == ("queued", True, first.data)
    assert twin.released_at is not None
    assert stragglers_sweep() == 0
    assert selectors.progress(twins).states == {"succeeded": 2, "running": 1}


def test_none_before_half_have_ended(split: Callable[..., Job], agent: Agent) -> None:
    job = split(shards={"most_items": 1})
    step = Step.objects.filter(run=job.run_id).first()
    assert step is not None
    agent.say(agent.started(step))
    Step.objects.filter(pk=step.pk).update(started_at=timezone.now() - timedelta(hours=1))
    assert stragglers_sweep() == 0


def test_none_within_half_a_minute_unless_it_is_set_otherwise(slow: Job, settings: Settings) -> None:
    Step.objects.filter(run=slow.run_id, state="running").update(started_at=timezone.now() - timedelta(seconds=20))
    assert stragglers_sweep() == 0
    settings.SHARD_SLOW_AFTER = 15
    assert stragglers_sweep() == 1


def test_the_twin_is_told_to_avoid_the_instance_of_the_shard(
    slow: Job, workspace: Workspace, django_capture_on_commit_callbacks: Any
) -> None:
    Instance.objects.create(workspace=workspace, instance_id="i-2", state="running", slots=9)
    queued_tasks(workspace)
    with django_capture_on_commit_callbacks(execute=True):
        stragglers_sweep()
    first, twin = pair(slow)
    (task,) = queued_tasks(workspace)
    assert isinstance(task, Task)
    assert (task.step, task.avoid) == (twin.pk, (first.instance_id,))


def test_the_twin_wins_and_the_shard_is_stopped(twins: Job, agent: Agent) -> None:
    first, twin = pair(twins)
    shard_end(agent, twin)
    first.refresh_from_db()
    twin.refresh_from_db()
    assert (first.superseded, twin.superseded) == (True, False)
    assert first.cancel_requested_at is not None
    twins.run.refresh_from_db()
    assert twins.run.state == "succeeded"
    shard_end(agent, first, "cancelled")
    twins.run.refresh_from_db()
    assert twins.run.state == "succeeded"


def test_the_shard_wins_and_the_twin_is_stopped(twins: Job, agent: Agent) -> None:
    first, twin = pair(twins)
    shard_end(agent, first)
    twin.refresh_from_db()
    assert (twin.superseded, twin.cancel_requested_at is not None) == (True, True)
    twins.run.refresh_from_db()
    assert twins.run.state == "succeeded"


def test_the_shard_fails_and_the_twin_goes_on_alone(twins: Job, agent: Agent) -> None:
    first, twin = pair(twins)
    shard_end(agent, first, "failed", exit_code=1)
    twins.run.refresh_from_db()
    assert twins.run.state == "running"
    shard_end(agent, twin)
    twins.run.refresh_from_db()
    assert twins.run.state == "succeeded"
    assert selectors.progress(twins).states == {"succeeded": 3}


def test_both_fail_and_so_does_the_job(twins: Job, agent: Agent) -> None:
    first, twin = pair(twins)
    shard_end(agent, twin, "failed", exit_code=1)
    twins.run.refresh_from_db()
    assert twins.run.state == "running"
    shard_end(agent, first, "failed", exit_code=1)
    twins.run.refresh_from_db()
    assert twins.run.state == "failed"
    assert selectors.progress(twins).states == {"succeeded": 2, "failed": 1}
