"""What a program asks of runs more than once, too late, or at the same moment as others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from django.db import connection
from rest_framework.test import APIClient

from agents.orca_agent import protocol
from portal.accounts.models import User
from portal.pipelines.models import Outbox, Run, ScriptVersion, State, Step
from portal.workspaces.models import Workspace
from tests.people import api_of
from tests.unit.portal.pipelines.conftest import Agent, only_step, queued_tasks

Press = Callable[..., Run]
URL = "/api/v1/runs/"


def asked(workspace: Workspace, version: ScriptVersion, **more: Any) -> dict[str, Any]:
    return {"workspace": workspace.pk, "script": version.script_id, **more}


def test_one_key_is_one_run(api: APIClient, workspace: Workspace, version: ScriptVersion) -> None:
    headers = {"Idempotency-Key": "a day's run ü"}
    answers = [api.post(URL, asked(workspace, version), headers=headers) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == Run.objects.count() == Outbox.objects.count() == 1
    other = api.post(URL, asked(workspace, version, arguments=["x"]), headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert Run.objects.count() == 1


def test_a_key_of_a_run_that_was_refused_can_be_used_again(
    api: APIClient, workspace: Workspace, version: ScriptVersion
) -> None:
    headers = {"Idempotency-Key": "k"}
    assert api.post(URL, asked(workspace, version, limits={"seconds": 0}), headers=headers).status_code == 422
    assert api.post(URL, asked(workspace, version), headers=headers).status_code == 201


def test_again_with_one_key_is_one_run_more(api: APIClient, run_started: Press) -> None:
    run = run_started()
    again = [api.post(f"{URL}{run.pk}/again/", headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert again[0].json()["id"] == again[1].json()["id"]
    assert Run.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_many_at_the_same_moment_with_one_key_are_one_run(
    owner: User, workspace: Workspace, version: ScriptVersion
) -> None:
    at_once = threading.Barrier(4)
    answers: list[Any] = []

    def ask(api: APIClient) -> None:
        try:
            at_once.wait(10)
            answers.append(api.post(URL, asked(workspace, version), headers={"Idempotency-Key": "k"}))
        finally:
            connection.close()

    threads = [threading.Thread(target=ask, args=(api_of(owner),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer.status_code for answer in answers] == [201] * 4, [answer.content for answer in answers]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("Idempotent-Replay" in answer.headers for answer in answers) == 3
    assert [task.run for task in queued_tasks(workspace)] == [Run.objects.get().pk]


@pytest.fixture
def cancel(api: APIClient, django_capture_on_commit_callbacks: Any) -> Callable[[Run], Any]:
    """Ask for a run's end, and let the commit do what it does."""

    def ask(run: Run) -> Any:
        with django_capture_on_commit_callbacks(execute=True):
            return api.post(f"{URL}{run.pk}/cancel/")

    return ask


def wanted(workspace: Workspace) -> tuple[str, ...]:
    """The steps that the instances are told to end."""
    body = boto3.client("s3").get_object(Bucket=workspace.bucket, Key="control/desired.json")["Body"].read()
    return protocol.parse_desired(body).cancelled


def states() -> list[str]:
    return list(Run.objects.order_by("created_at", "id").values_list("state", flat=True))


def test_cancelled_before_it_was_handed_over_it_never_runs(
    run_started: Press, cancel: Any, workspace: Workspace, agent: Agent
) -> None:
    Workspace.objects.update(state="applying")
    workspace.refresh_from_db()
    runs = [run_started() for _ in range(2)]
    answer = cancel(runs[0])
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    assert answer.json()["steps"][0]["message"] == "Cancelled before it began."
    Workspace.objects.update(state="ready")
    workspace.refresh_from_db()
    runs.append(run_started())
    assert [task.run for task in queued_tasks(workspace)] == [run.pk for run in runs[1:]]


def test_cancelled_while_it_waits_in_the_queue_it_is_refused_by_the_agent(
    run_started: Press, cancel: Any, workspace: Workspace, agent: Agent
) -> None:
    run, other = run_started(), run_started()
    first, second = cancel(run), cancel(run)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["cancel_requested_at"] == second.json()["cancel_requested_at"] is not None
    assert wanted(workspace) == (only_step(run).pk,)
    agent.say(agent.finished(only_step(run), "cancelled", reason="cancelled", exit_code=None))
    agent.say(agent.finished(only_step(other)))
    assert states() == [State.CANCELLED, State.SUCCEEDED]


def test_cancelled_while_it_runs_it_ends_and_its_neighbour_does_not(
    run_started: Press, cancel: Any, workspace: Workspace, agent: Agent
) -> None:
    run, other = run_started(), run_started()
    agent.say(agent.started(only_step(run)), agent.started(only_step(other)))
    assert cancel(run).status_code == 202
    assert wanted(workspace) == (only_step(run).pk,)
    agent.say(agent.finished(only_step(run), "cancelled", reason="cancelled", exit_code=None, signal=15))
    assert states() == [State.CANCELLED, State.RUNNING]
    agent.say(agent.finished(only_step(other)))
    assert states() == [State.CANCELLED, State.SUCCEEDED]


def test_what_ended_before_it_heard_of_the_cancelling_has_succeeded(
    run_started: Press, cancel: Any, agent: Agent
) -> None:
    run = run_started()
    agent.say(agent.started(only_step(run)))
    cancel(run)
    agent.say(agent.finished(only_step(run)))
    agent.say(agent.finished(only_step(run), "cancelled", reason="cancelled", exit_code=None))
    assert states() == [State.SUCCEEDED]


@pytest.mark.parametrize("state", ["succeeded", "failed", "timed_out", "cancelled"])
def test_what_has_ended_cannot_be_cancelled(run_started: Press, cancel: Any, agent: Agent, state: str) -> None:
    run = run_started()
    agent.say(agent.finished(only_step(run), state))
    before = Step.objects.values().get()
    answer = cancel(run)
    said = answer.json()
    assert (answer.status_code, said["code"]) == (409, "already_ended")
    assert said["message"] == f"This run has already ended: {State(state).label.lower()}."
    assert Step.objects.values().get() == before
    assert Run.objects.get().cancel_requested_at is None


def test_nobody_cancels_for_others(run_started: Press, outsider_api: APIClient) -> None:
    run = run_started()
    assert outsider_api.post(f"{URL}{run.pk}/cancel/").status_code == 404
    assert Run.objects.get().cancel_requested_at is None
