"""A run that may cost only so much ends when nothing more of it may begin; what has come of it stays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.pipelines import dispatch, sweeps
from portal.pipelines.models import Run, ScriptVersion, State, Step
from portal.pipelines.spending import MOST_RETURNS
from portal.workspaces.models import Workspace
from tests.unit.portal.pipelines.conftest import Agent
from tests.unit.portal.pipelines.test_bounds import bounded

OUTPUT = {"path": "a.txt", "size": 1, "content_type": "text/plain"}


@pytest.fixture
def run(workspace: Workspace, version: ScriptVersion) -> Run:
    """Two of its five shards fit into what it may cost."""
    return bounded(workspace, version, 5, at_once=5, cost_limit=25, cost_of_step=10, on_failure=Run.OnFailure.CONTINUE)


def test_it_ends_once_nothing_is_out(run: Run, workspace: Workspace, agent: Agent) -> None:
    dispatch.steps_release(workspace=workspace)
    first, second = run.steps.exclude(released_at=None)
    Run.objects.update(cost_spent=10)
    agent.say(agent.finished(first))
    assert run.steps.filter(state=State.QUEUED).count() == 4  # the second is out, and one more would fit
    Run.objects.update(cost_spent=20)
    agent.say(agent.finished(second))
    run.refresh_from_db()
    assert (run.state, run.finished_at is not None) == (State.CANCELLED, True)
    left = run.steps.filter(state=State.CANCELLED)
    assert set(left.values_list("reason", flat=True)) == {"budget_reached"}
    assert left.count() == 3
    assert "is spent" in left[0].message
    assert run.steps.filter(state=State.SUCCEEDED).count() == 2


def test_what_is_tried_again_does_not_begin_either(run: Run, workspace: Workspace, agent: Agent) -> None:
    run.steps.update(retries={"count": 3, "backoff_seconds": 600, "exit_codes": []})
    dispatch.steps_release(workspace=workspace)
    first, second = run.steps.exclude(released_at=None)
    Run.objects.update(cost_spent=20)
    agent.say(agent.finished(first, "failed", exit_code=1), agent.finished(second))
    assert set(run.steps.values_list("state", flat=True)) == {State.SUCCEEDED, State.CANCELLED}


def begun_long_ago(*steps: Step) -> None:
    """They are at work, for an hour."""
    ago = timezone.now() - timedelta(hours=1)
    Step.objects.filter(pk__in=[step.pk for step in steps]).update(released_at=ago, created_at=ago, started_at=ago)


def test_what_an_instance_left_is_paid_before_anybody_begins_it_again(
    run: Run, workspace: Workspace, agent: Agent
) -> None:
    dispatch.steps_release(workspace=workspace)
    first, second = run.steps.exclude(released_at=None)
    assert dispatch.task_of(first, 1).once
    agent.say(agent.started(first), agent.started(second))
    begun_long_ago(first, second)
    agent.say(agent.returned(first))
    first.refresh_from_db()
    run.refresh_from_db()
    assert run.cost_spent > (run.cost_limit or 0), "an hour costs more than this run may"
    assert (first.state, first.released_at, first.attempt) == (State.QUEUED, None, 1)
    agent.say(agent.finished(second, boot_id="boot"))
    first.refresh_from_db()
    assert (first.state, first.reason) == (State.CANCELLED, "budget_reached")


def test_what_fits_is_handed_out_again_and_paid_once(run: Run, workspace: Workspace, agent: Agent) -> None:
    Run.objects.update(cost_limit=10**12)
    dispatch.steps_release(workspace=workspace)
    first = run.steps.exclude(released_at=None).first()
    assert first is not None
    agent.say(agent.started(first))
    begun_long_ago(first)
    agent.say(agent.returned(first))
    first.refresh_from_db()
    assert (first.attempt, first.released_at is not None) == (2, True)
    run.refresh_from_db()
    spent = run.cost_spent
    agent.say(agent.returned(first), agent.returned(first))
    first.refresh_from_db()
    run.refresh_from_db()
    assert (first.attempt, run.cost_spent) == (2, spent), "what is told of an earlier attempt changes nothing"
    agent.say(agent.started(first, 2, boot_id="later"), agent.finished(first, attempt=2, boot_id="later"))
    first.refresh_from_db()
    run.refresh_from_db()
    assert first.state == State.SUCCEEDED
    assert run.cost_spent > spent


def test_what_brings_instances_down_again_and_again_is_given_up(run: Run, workspace: Workspace, agent: Agent) -> None:
    dispatch.steps_release(workspace=workspace)
    first = run.steps.exclude(released_at=None).first()
    assert first is not None
    Step.objects.filter(pk=first.pk).update(attempt=MOST_RETURNS)
    agent.say(agent.returned(first, MOST_RETURNS))
    first.refresh_from_db()
    assert (first.state, first.reason) == (State.LOST, "given_up")


def test_a_sweep_finds_what_nobody_ended(run: Run, workspace: Workspace) -> None:
    sweeps.runs_sweep()
    assert not run.steps.filter(state=State.CANCELLED).exists()
    Run.objects.update(cost_spent=16)
    run.steps.update(released_at=None)
    sweeps.runs_sweep()
    run.refresh_from_db()
    assert run.state == State.CANCELLED


def test_a_run_without_a_limit_is_left_alone(workspace: Workspace, version: ScriptVersion, run_started: Any) -> None:
    run = run_started()
    assert not dispatch.task_of(run.steps.get(), 1).once
    Run.objects.update(cost_limit=1, cost_spent=5)
    sweeps.runs_sweep()
    run.refresh_from_db()
    assert run.state == State.QUEUED
