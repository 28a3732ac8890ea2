"""One page names what needs attention, and its buttons mend it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import boto3
import pytest
from django.test import Client
from django.utils import timezone

from portal.accounts.models import User
from portal.gateways.aws_platform import dead_events_queue_url, events_queue_url
from portal.pipelines.attention import concerns
from portal.pipelines.models import Outbox, Run, State, Step
from portal.workspaces.models import Instance, TerraformRun, Workspace
from tests.people import browser_of
from tests.unit.portal.pipelines.conftest import only_step

Press = Callable[..., Run]
PAGE = "/admin/attention/"


@pytest.fixture
def operator(db: None) -> Client:
    return browser_of(User.objects.create_superuser("op@example.org", "x"))


def press(operator: Client, committed: Any) -> str:
    """Press the first button; what the page says then."""
    (concern,) = concerns()
    with committed(execute=True):
        answer = operator.post(PAGE, {"kind": concern.kind, "id": concern.id}, follow=True)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_nothing_wrong_is_said(operator: Client, run_started: Press) -> None:
    run_started()
    assert "Nothing needs attention" in operator.get(PAGE).content.decode()
    assert PAGE in operator.get("/admin/").content.decode()


def test_a_lost_run_is_run_again(operator: Client, run_started: Press, django_capture_on_commit_callbacks: Any) -> None:
    run = run_started()
    Run.objects.filter(pk=run.pk).update(state=State.LOST, finished_at=timezone.now())
    Step.objects.update(state=State.LOST, message="The agent died.")
    assert "The agent died." in operator.get(PAGE).content.decode()
    assert "Nothing needs attention" in press(operator, django_capture_on_commit_callbacks)
    assert Run.objects.get(again_of=run).state == State.QUEUED


def test_a_forgotten_step_is_handed_out_again(
    operator: Client, run_started: Press, django_capture_on_commit_callbacks: Any
) -> None:
    step = only_step(run_started())
    Step.objects.update(seen_at=timezone.now() - timedelta(minutes=10))
    press(operator, django_capture_on_commit_callbacks)
    step.refresh_from_db()
    assert step.attempt == 2
    assert not concerns()


def test_an_unsent_task_is_sent(operator: Client, run_started: Press, django_capture_on_commit_callbacks: Any) -> None:
    run_started()
    late = timezone.now() - timedelta(minutes=2)
    Outbox.objects.update(sent_at=None, created_at=late, error="The cloud did not answer.")
    assert "did not answer" in operator.get(PAGE).content.decode()
    press(operator, django_capture_on_commit_callbacks)
    assert Outbox.objects.get().sent_at is not None


def test_a_failed_workspace_is_applied_again(
    operator: Client, workspace: Workspace, django_capture_on_commit_callbacks: Any
) -> None:
    Workspace.objects.update(state="failed", state_reason="No machines left.")
    press(operator, django_capture_on_commit_callbacks)
    assert TerraformRun.objects.get().operation == "apply"
    assert not concerns()


def test_a_silent_worker_is_taken_over(
    operator: Client, workspace: Workspace, django_capture_on_commit_callbacks: Any
) -> None:
    silent = timezone.now() - timedelta(minutes=1)
    TerraformRun.objects.create(workspace=workspace, operation="apply", state="applying", heartbeat_at=silent)
    press(operator, django_capture_on_commit_callbacks)
    assert TerraformRun.objects.get().state == "queued"


def test_a_silent_instance_is_named(operator: Client, workspace: Workspace) -> None:
    Instance.objects.update(state="unreachable")
    assert "does not report" in operator.get(PAGE).content.decode()


def test_an_unknown_concern_is_refused(operator: Client) -> None:
    answer = operator.post(PAGE, {"kind": "x", "id": "y"}, follow=True)
    assert "no such concern" in answer.content.decode()


def test_events_that_were_set_aside_are_heard_again(
    operator: Client, run_started: Press, django_capture_on_commit_callbacks: Any
) -> None:
    run_started()
    sqs = boto3.client("sqs")
    sqs.send_message(QueueUrl=dead_events_queue_url(), MessageBody="a report")
    assert "1 message of instances set aside" in operator.get(PAGE).content.decode()
    assert "Nothing needs attention" in press(operator, django_capture_on_commit_callbacks)
    (message,) = sqs.receive_message(QueueUrl=events_queue_url())["Messages"]
    assert message["Body"] == "a report"


def test_a_cloud_that_does_not_answer_is_a_concern_of_its_own(operator: Client, run_started: Press) -> None:
    run_started()
    boto3.client("sqs").delete_queue(QueueUrl=dead_events_queue_url())
    (concern,) = concerns()
    assert concern.kind == "events"
    assert "Events that were set aside" in operator.get(PAGE).content.decode()
