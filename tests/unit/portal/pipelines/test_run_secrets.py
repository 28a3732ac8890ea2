"""Runs name secrets of their workspace; their values go nowhere near."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from agents.orca_agent import protocol
from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.core.errors import Invalid
from portal.pipelines.again import run_again
from portal.pipelines.models import Run, ScriptVersion, Step
from portal.workspaces.models import Workspace
from portal.workspaces.secrets import secret_delete, secret_put
from tests.unit.portal.pipelines.conftest import only_step, queued_tasks, ready_workspace

Press = Callable[..., Run]
VALUE = "hunter2-hunter2"


@pytest.fixture
def kept(workspace: Workspace) -> None:
    for name in ("API_KEY", "TOKEN"):
        secret_put(workspace=workspace, name=name, value=VALUE, by=workspace.owner)


@pytest.mark.usefixtures("kept")
def test_a_task_carries_names_alone(workspace: Workspace, run_started: Press) -> None:
    run = run_started(secrets=["API_KEY", "TOKEN", "API_KEY"])
    assert only_step(run).secrets == ["API_KEY", "TOKEN"]
    url = boto3.client("sqs").get_queue_url(QueueName=workspace.tasks_queue)["QueueUrl"]
    attributes: Any = {"QueueUrl": url, "VisibilityTimeout": 0}
    assert VALUE not in boto3.client("sqs").receive_message(**attributes)["Messages"][0]["Body"]
    (task,) = queued_tasks(workspace)
    assert isinstance(task, protocol.Task)
    assert task.secret_names == ("API_KEY", "TOKEN")


@pytest.mark.usefixtures("kept")
def test_the_same_once_more_has_the_same_secrets(owner: User, workspace: Workspace, run_started: Press) -> None:
    run = run_started(secrets=["TOKEN"])
    assert only_step(run_again(run=run, by=owner)).secrets == ["TOKEN"]
    secret_delete(workspace=workspace, name="TOKEN", by=owner)
    with pytest.raises(Invalid, match="TOKEN"):
        run_again(run=run, by=owner)


@pytest.mark.usefixtures("kept")
def test_secrets_that_the_workspace_lacks_are_told(
    api: APIClient, owner: User, cloud_account: CloudAccount, workspace: Workspace, version: ScriptVersion
) -> None:
    other = ready_workspace(owner, cloud_account, name="other")
    asked = {"workspace": other.pk, "script": version.script_id, "secrets": ["TOKEN"]}
    answer = api.post("/api/v1/runs/", asked, format="json")
    assert (answer.status_code, answer.json()["code"]) == (422, "secret_missing")
    assert answer.json()["message"] == "The workspace other has no secret TOKEN."
    many = [f"S{number}" for number in range(protocol.MAX_SECRETS + 1)]
    wrong: list[Any] = [many, "TOKEN", [""], [{}], [None]]
    for secrets in wrong:
        assert api.post("/api/v1/runs/", asked | {"secrets": secrets}, format="json").status_code in {400, 422}
    assert not Run.objects.exists()
    made = api.post("/api/v1/runs/", asked | {"workspace": workspace.pk}, format="json")
    assert made.status_code == 201
    assert made.json()["steps"][0]["secrets"] == ["TOKEN"]
    assert VALUE not in made.content.decode()


@pytest.mark.usefixtures("kept")
def test_the_form_offers_them(
    browser: Client, owner: User, cloud_account: CloudAccount, workspace: Workspace, version: ScriptVersion
) -> None:
    other = ready_workspace(owner, cloud_account, name="other")
    secret_put(workspace=other, name="TOKEN", value=VALUE, by=owner)
    page = reverse("script", args=[version.script_id])
    shown = browser.get(page).content.decode()
    assert "API_KEY (lab)" in shown
    assert "TOKEN (" not in shown
    form = {"workspace": workspace.pk, "version": "1", "arguments": "", "secrets": ["API_KEY", "TOKEN"]}
    run = reverse("script_run", args=[version.script_id])
    assert browser.post(run, form | {"workspace": other.pk}).status_code == 422
    answer = browser.post(run, form)
    assert answer.status_code == 302, answer.content.decode()
    assert Step.objects.get().secrets == ["API_KEY", "TOKEN"]
    assert "API_KEY, TOKEN" in browser.get(answer.headers["Location"]).content.decode()
    again = browser.get(f"{page}?like={Run.objects.get().pk}").content.decode()
    assert again.count("checked") >= 2


def test_without_secrets_the_form_says_nothing_of_them(browser: Client, version: ScriptVersion) -> None:
    shown = browser.get(reverse("script", args=[version.script_id])).content.decode()
    assert "<summary>Secrets" not in shown
