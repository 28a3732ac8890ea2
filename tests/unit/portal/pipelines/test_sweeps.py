"""Every accepted run ends, whatever was lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import boto3
import pytest
from django.utils import timezone

from agents.orca_agent import protocol
from portal.pipelines import dispatch, sweeps
from portal.pipelines.models import LogChunk, Outbox, Run, SeenEvent, State, Step
from portal.workspaces.events import workspace_gone
from portal.workspaces.models import Instance, Workspace
from tests.unit.portal.pipelines.conftest import Agent, only_step, queued_tasks

Press = Callable[..., Run]


def silence(step: Step, seconds: float) -> None:
    Step.objects.filter(pk=step.pk).update(seen_at=timezone.now() - timedelta(seconds=seconds))


def test_a_message_that_was_lost_is_sent_again_and_at_last_given_up(
    run_started: Press, workspace: Workspace, agent: Agent, django_capture_on_commit_callbacks: object
) -> None:
    run = run_started()
    step = only_step(run)
    for attempt in (2, 3):
        queued_tasks(workspace)
        silence(step, 301)
        with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
            sweeps.runs_sweep()
        (task,) = queued_tasks(workspace)
        assert (task.step, task.attempt) == (step.pk, attempt)
    silence(step, 301)
    sweeps.runs_sweep()
    run.refresh_from_db()
    assert run.state == State.LOST


def test_a_step_that_the_heartbeat_names_is_left_alone(run_started: Press, workspace: Workspace, agent: Agent) -> None:
    step = only_step(run_started())
    agent.say(agent.started(step))
    silence(step, 100_000)
    agent.say(agent.heartbeat(step))
    assert sweeps.runs_sweep() == 0
    step.refresh_from_db()
    assert (step.state, step.attempt) == (State.RUNNING, 1)


def test_without_any_instance_a_run_is_lost_after_a_while(run_started: Press, workspace: Workspace) -> None:
    run = run_started()
    Instance.objects.update(state="unreachable")
    silence(only_step(run), 100)
    sweeps.runs_sweep()
    run.refresh_from_db()
    assert run.state == State.QUEUED
    silence(only_step(run), 901)
    sweeps.runs_sweep()
    run.refresh_from_db()
    assert run.state == State.LOST


def test_a_stopped_workspace_keeps_its_runs(run_started: Press, workspace: Workspace) -> None:
    run = run_started()
    Workspace.objects.update(state="stopped")
    Instance.objects.update(state="stopped")
    silence(only_step(run), 100_000)
    sweeps.runs_sweep()
    run.refresh_from_db()
    assert run.state == State.QUEUED


def test_dead_letters_end_their_runs(run_started: Press, workspace: Workspace) -> None:
    run = run_started()
    step = only_step(run)
    sqs = boto3.client("sqs")
    sqs.send_message(
        QueueUrl=sqs.get_queue_url(QueueName=workspace.dead_queue)["QueueUrl"],
        MessageBody=protocol.tasks_body([dispatch.task_of(step, 1)]),
        MessageGroupId="g",
        MessageDeduplicationId="d",
    )
    sweeps.runs_sweep()
    run.refresh_from_db()
    step.refresh_from_db()
    assert (run.state, step.reason) == (State.LOST, "given_up")


@pytest.mark.parametrize("up", [True, False])
def test_a_cancel_that_nobody_confirms_ends_anyway(run_started: Press, workspace: Workspace, up: bool) -> None:
    run = run_started()
    if not up:
        Instance.objects.update(state="unreachable")
    patience = 901 if up else 46
    Step.objects.update(cancel_requested_at=timezone.now() - timedelta(seconds=patience))
    sweeps.runs_sweep()
    run.refresh_from_db()
    assert run.state == State.CANCELLED


def test_a_destroyed_workspace_ends_its_runs(run_started: Press, workspace: Workspace) -> None:
    runs = [run_started() for _ in range(3)]
    workspace_gone.send(Workspace, workspace=workspace)
    assert {Run.objects.get(pk=run.pk).state for run in runs} == {State.CANCELLED}


def test_records_that_nobody_can_ask_for_are_forgotten(run_started: Press) -> None:
    now = timezone.now()
    kept, gone = [only_step(run_started()) for _ in range(2)]
    for step, days in ((kept, 1), (gone, 31)):
        at = now - timedelta(days=days)
        Step.objects.filter(pk=step.pk).update(
            state=State.SUCCEEDED, finished_at=at, log_key=step.object_key("log.txt")
        )
        LogChunk.objects.create(step=step, execution=1, first=1, count=1, lines=[["out", 1.0, "a line"]])
        Outbox.objects.filter(step=step).update(sent_at=at)
        SeenEvent.objects.filter(pk=SeenEvent.objects.create(id=step.pk).pk).update(created_at=at)
    assert sweeps.records_forget() == 3
    assert [row.step_id for row in LogChunk.objects.all()] == [kept.pk]
    assert [row.step_id for row in Outbox.objects.all()] == [kept.pk]
    assert [row.pk for row in SeenEvent.objects.all()] == [kept.pk]


def test_a_log_that_is_nowhere_else_is_kept(run_started: Press) -> None:
    step = only_step(run_started())
    Step.objects.filter(pk=step.pk).update(state=State.SUCCEEDED, finished_at=timezone.now() - timedelta(days=400))
    LogChunk.objects.create(step=step, execution=1, first=1, count=1, lines=[["out", 1.0, "a line"]])
    sweeps.records_forget()
    assert LogChunk.objects.exists()


def test_what_waits_although_there_is_room_is_handed_out(
    run_started: Press, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(dispatch, "steps_release", lambda **_: 0)  # killed before it came to that
        run = run_started()
    assert queued_tasks(workspace) == []
    with django_capture_on_commit_callbacks(execute=True):
        assert sweeps.tasks_sweep() == 1
        assert sweeps.tasks_sweep() == 0
    assert [task.run for task in queued_tasks(workspace)] == [run.pk]
