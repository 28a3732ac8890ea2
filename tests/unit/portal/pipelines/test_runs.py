"""From the press of the button to the queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pytest

from agents.orca_agent import protocol
from portal.accounts.models import User
from portal.core.errors import Conflict, Invalid, NotFound
from portal.pipelines import again, dispatch, services
from portal.pipelines.models import LogChunk, Outbox, Run, ScriptVersion, State, Step
from portal.workspaces.models import Instance, Workspace
from tests.unit.portal.pipelines.conftest import Agent, only_step, queued_tasks

Press = Callable[..., Run]


def test_a_run_reaches_the_queue_with_everything_that_the_agent_needs(
    run_started: Press, workspace: Workspace, version: ScriptVersion
) -> None:
    run = run_started(arguments=["--city", "Seattle; rm -rf /"], environment={"MODE": "ä"}, limits={"seconds": 5})
    (task,) = queued_tasks(workspace)
    assert isinstance(task, protocol.Task)
    assert (task.run, task.step, task.attempt) == (run.pk, only_step(run).pk, 1)
    assert task.arguments == ("--city", "Seattle; rm -rf /")
    assert task.environment == {"MODE": "ä"}
    assert task.limits.seconds == 5
    bundle = boto3.client("s3").get_object(Bucket=workspace.bucket, Key=task.script.key)["Body"].read()
    assert bundle[:2] == b"PK"
    assert task.script.sha256 == version.sha256


def test_the_queue_is_kept_shallow_and_fed_as_steps_end(run_started: Press, workspace: Workspace, agent: Agent) -> None:
    runs = [run_started() for _ in range(9)]
    tasks = queued_tasks(workspace)
    assert [task.run for task in tasks] == [run.pk for run in runs[:4]]  # two slots, twice as many ahead
    agent.say(agent.finished(only_step(runs[0])))
    assert [task.run for task in queued_tasks(workspace)] == [runs[4].pk]


def test_a_workspace_that_is_not_ready_lets_runs_wait(run_started: Press, workspace: Workspace) -> None:
    Workspace.objects.filter(pk=workspace.pk).update(state="applying")
    workspace.refresh_from_db()
    run = run_started()
    assert run.state == State.QUEUED
    assert queued_tasks(workspace) == []
    Workspace.objects.filter(pk=workspace.pk).update(state="ready")


def test_a_destroyed_workspace_takes_no_runs(run_started: Press, workspace: Workspace) -> None:
    workspace.state = "destroyed"
    with pytest.raises(Conflict):
        run_started()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"arguments": ["x" * 10_001]}, "arguments"),
        ({"arguments": ["a\0b"]}, "arguments"),
        ({"arguments": ["x" * 9_999] * 11}, "arguments"),
        ({"environment": {"1X": "a"}}, "environment"),
        ({"environment": {"AWS_SECRET_ACCESS_KEY": "a"}}, "environment"),
        ({"environment": {"LD_PRELOAD": "a"}}, "environment"),
        ({"limits": {"seconds": 0}}, "limits"),
        ({"limits": {"wishes": 3}}, "limits"),
    ],
)
def test_bad_input_names_its_field(run_started: Press, given: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        run_started(**given)
    assert field in caught.value.fields
    assert not Run.objects.exists()


def test_what_cannot_be_sent_is_sent_by_the_sweep(
    run_started: Press, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqs = boto3.client("sqs")
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=workspace.tasks_queue)["QueueUrl"])
    run = run_started()
    assert Outbox.objects.get().sent_at is None
    sqs.create_queue(QueueName=workspace.tasks_queue, Attributes={"FifoQueue": "true"})
    Outbox.objects.update(claimed_until="2100-01-01T00:00:00Z")
    assert dispatch.outbox_sweep() == 0  # it is left to whoever is sending it right now
    Outbox.objects.update(claimed_until=None)
    assert dispatch.outbox_sweep() == 1
    assert dispatch.outbox_sweep() == 0
    assert [task.run for task in queued_tasks(workspace)] == [run.pk]


def test_a_pack_whose_sending_was_doubtful_is_sent_as_the_same_message(
    run_started: Press, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    monkeypatch.setattr(dispatch, "pace", dispatch.Pace())
    Instance.objects.update(slots=0)
    runs = [run_started() for _ in range(4)]
    Instance.objects.update(slots=2)
    dispatch.pace.ended(workspace.pk, 40)
    with django_capture_on_commit_callbacks(execute=True):
        dispatch.steps_release(workspace=workspace)
    assert len(set(Outbox.objects.values_list("pack", flat=True))) == 2
    Outbox.objects.update(sent_at=None, claimed_until=None)  # as after a call that was broken off
    assert dispatch.outbox_sweep() == 4
    assert sorted(task.run for task in queued_tasks(workspace)) == sorted(run.pk for run in runs)


def test_two_senders_send_one_message(run_started: Press, workspace: Workspace) -> None:
    run_started()
    row = Outbox.objects.get()
    Outbox.objects.update(sent_at=None)
    Outbox.objects.filter(pk=row.pk).update(claimed_until="2100-01-01T00:00:00Z")
    assert dispatch.outbox_send(outbox_ids=[row.pk]) == 0


def test_a_waiting_run_is_cancelled_at_once(run_started: Press, workspace: Workspace) -> None:
    runs = [run_started() for _ in range(5)]
    services.run_cancel(run=runs[4])
    assert (runs[4].state, only_step(runs[4]).reason) == (State.CANCELLED, "cancelled")
    with pytest.raises(Conflict):
        services.run_cancel(run=runs[4])


def test_a_running_run_is_cancelled_through_the_desired_state(
    run_started: Press, workspace: Workspace, agent: Agent, django_capture_on_commit_callbacks: Any
) -> None:
    run = run_started()
    step = only_step(run)
    agent.say(agent.started(step))
    with django_capture_on_commit_callbacks(execute=True):
        services.run_cancel(run=run)
    body = boto3.client("s3").get_object(Bucket=workspace.bucket, Key="control/desired.json")["Body"].read()
    assert protocol.parse_desired(body).cancelled == (step.pk,)
    agent.say(agent.finished(step, "cancelled", reason="cancelled", exit_code=None, signal=15))
    run.refresh_from_db()
    assert run.state == State.CANCELLED


def test_run_again_repeats_everything(run_started: Press, owner: User) -> None:
    run = run_started(arguments=["a b"], environment={"X": "1"}, limits={"memory_mb": 64}, name="once")
    repeated = again.run_again(run=run, by=owner)
    first, second = only_step(run), only_step(repeated)
    assert (repeated.name, repeated.again_of_id) == ("once", run.pk)
    for what in ("arguments", "environment", "limits", "version_id"):
        assert getattr(first, what) == getattr(second, what)


def test_equal_uploads_are_one_version(owner: User, version: ScriptVersion) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    same = services.script_version_add(
        script=version.script, by=owner, uploads=[SimpleUploadedFile("main.py", b"print('hello')\n")]
    )
    other = services.script_version_add(
        script=version.script, by=owner, uploads=[SimpleUploadedFile("main.py", b"print('bye')\n")]
    )
    assert (same.number, other.number) == (1, 2)
    assert Step.objects.count() == 0


def test_a_small_log_is_put_into_the_bucket_when_it_is_asked_for(run_started: Press, agent: Agent) -> None:
    step = only_step(run_started())
    with pytest.raises(NotFound):
        services.log_link(step=step)
    agent.say(agent.started(step), agent.finished(step, log=protocol.LogSummary(2, 20, False, "")))
    step.refresh_from_db()
    with pytest.raises(NotFound, match="on their way"):
        services.log_link(step=step)
    agent.say(agent.log(step, 1, "one", "zwölf"))
    link = services.log_link(step=step)
    step.refresh_from_db()
    assert step.log_key == f"runs/{step.run_id}/{step.pk}/1/log.txt"
    assert step.log_key in link
    stored = boto3.client("s3").get_object(Bucket=step.workspace.bucket, Key=step.log_key)["Body"].read().decode()
    assert [line.split(" ", 1)[1] for line in stored.splitlines()] == ["out one", "out zwölf"]
    LogChunk.objects.all().delete()
    assert step.log_key in services.log_link(step=step)
