"""What the buttons of a workspace's page do, and what they refuse."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal.accounts.models import User
from portal.gateways.aws_compute import LentCredentials
from portal.workspaces.models import TerraformRun, Workspace
from tests.people import browser_of

from .conftest import WorkspaceMaker, terraform_run_made

pytestmark = pytest.mark.django_db
NEW = {"name": "Glacier", "instance_type": "t3.medium", "volume_gb": "40"}


def pressed(browser: Client, name: str, pk: str, **form: str) -> Any:
    return browser.post(reverse(name, args=[pk]), form, headers={"Referer": f"http://testserver/workspaces/{pk}/"})


def messages_of(response: Any) -> str:
    return " ".join(str(message) for message in response.wsgi_request._messages)


def test_a_workspace_is_asked_for(browser: Client, owner: User, account: Any) -> None:
    response = browser.post(reverse("workspace_new"), NEW | {"review": "on"})
    made = Workspace.objects.get()
    assert response.headers["Location"] == reverse("workspace", args=[made.pk])
    assert (made.owner, made.name, made.instance_type, made.volume_gb) == (owner, "Glacier", "t3.medium", 40)
    assert TerraformRun.objects.get().review


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": ""}, "This field is required"),
        ({"volume_gb": "7"}, "greater than or equal to 8"),
        ({"instance_type": "p5.48xlarge"}, "not one of the available choices"),
    ],
)
def test_what_cannot_be_is_said_at_its_field(browser: Client, account: Any, change: dict[str, str], said: str) -> None:
    assert said in browser.post(reverse("workspace_new"), NEW | change).content.decode()
    assert not Workspace.objects.exists()


def test_a_name_that_is_taken_is_said_at_its_field(browser: Client, workspace_made: WorkspaceMaker) -> None:
    workspace_made(name="Glacier")
    response = browser.post(reverse("workspace_new"), NEW)
    assert response.status_code == 409
    assert response.context["form"].errors["name"] == ["Already taken"]


def test_the_way_in_is_shown_while_there_is_one(browser: Client, workspace: Workspace) -> None:
    html = browser.get(reverse("workspace", args=[workspace.pk])).content.decode()
    assert "analyst@127.3.4.5" in html
    assert "127.3.4.5 ssh-ed25519 AAAAHOST" in html.replace("[", "").replace("]:22", "").replace("]:2222", "")
    assert "Add your SSH key" in html
    assert workspace.bucket in html


def test_stop_and_start(browser: Client, workspace: Workspace) -> None:
    pressed(browser, "workspace_stop", workspace.pk)
    workspace.refresh_from_db()
    assert workspace.state == "stopping"
    response = pressed(browser, "workspace_start", workspace.pk)
    assert response.status_code == 302
    assert "cannot be started" in messages_of(response)


def test_a_stop_in_the_middle_of_a_build_is_promised_and_can_be_taken_back(
    browser: Client, workspace: Workspace
) -> None:
    terraform_run_made(workspace, "applying")
    page = reverse("workspace", args=[workspace.pk])
    assert "stop-dialog" in browser.get(page).content.decode()
    pressed(browser, "workspace_stop", workspace.pk)
    html = browser.get(page).content.decode()
    assert "Stopping as soon as the build has settled" in html
    assert "Stopping as soon as the build has settled" in browser.get("/").content.decode()
    assert "Keep it running" in html
    assert 'data-open="stop-dialog"' not in html
    pressed(browser, "workspace_start", workspace.pk)
    html = browser.get(page).content.decode()
    assert "Stopping as soon as" not in html
    assert 'data-open="stop-dialog"' in html


def test_apply_again_with_the_plan_first(browser: Client, workspace: Workspace) -> None:
    pressed(browser, "workspace_apply", workspace.pk, review="yes")
    run = TerraformRun.objects.get()
    assert (run.operation, run.review, run.workspace) == ("apply", True, workspace)


def test_a_locked_workspace_names_the_holder(browser: Client, workspace: Workspace, owner: User) -> None:
    terraform_run_made(workspace, "applying", requested_by=owner)
    response = pressed(browser, "workspace_apply", workspace.pk)
    assert response.headers["Location"] == f"/workspaces/{workspace.pk}/"
    assert "ada@example.org" in messages_of(response)


def test_destroying_keeps_the_data_unless_the_name_was_typed(browser: Client, workspace: Workspace) -> None:
    for typed in ("", "lab", "Lab 2"):
        response = pressed(browser, "workspace_destroy", workspace.pk, delete_data="on", confirm_name=typed)
        assert "type the workspace" in messages_of(response).lower()
    assert not TerraformRun.objects.exists()
    pressed(browser, "workspace_destroy", workspace.pk, delete_data="on", confirm_name="Lab")
    assert TerraformRun.objects.get().operation == "destroy_data"


def test_destroying_without_more_keeps_the_data(browser: Client, workspace: Workspace) -> None:
    assert "data stays" in messages_of(pressed(browser, "workspace_destroy", workspace.pk))
    assert TerraformRun.objects.get().operation == "destroy"


def test_a_plan_waits_for_a_yes_or_a_no(browser: Client, workspace_made: WorkspaceMaker) -> None:
    for name, after in (("terraform_run_approve", "queued"), ("terraform_run_cancel", "cancelled")):
        workspace = workspace_made("planning", name=name)
        run = terraform_run_made(workspace, "planned")
        assert "Waits for your yes" in browser.get(reverse("workspace", args=[workspace.pk])).content.decode()
        assert pressed(browser, name, run.pk).headers["Location"] == reverse("workspace", args=[workspace.pk])
        run.refresh_from_db()
        assert run.state == after


def test_credentials_are_shown_once_and_stored_nowhere(
    browser: Client, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent = LentCredentials("AKIAEXAMPLE", "very-secret", "a-token", datetime(2030, 1, 1, tzinfo=UTC))
    monkeypatch.setattr("portal.workspaces.services.credentials_lend", lambda **_: lent)
    response = pressed(browser, "workspace_credentials", workspace.pk)
    html = response.content.decode()
    assert "export AWS_SECRET_ACCESS_KEY=very-secret" in html
    assert "aws_session_token = a-token" in html
    assert f"s3://{workspace.bucket}/" in html
    assert response.headers["Cache-Control"] == "no-store"
    assert browser.get(reverse("workspace_credentials", args=[workspace.pk])).status_code == 405


def test_credentials_that_are_not_there_yet_are_explained(browser: Client, workspace: Workspace) -> None:
    html = pressed(browser, "workspace_credentials", workspace.pk).content.decode()
    assert "no credentials to lend" in html


def test_an_outsider_changes_nothing(outsider: User, workspace: Workspace) -> None:
    browser = browser_of(outsider)
    for name in ("stop", "start", "apply", "destroy", "credentials"):
        assert pressed(browser, f"workspace_{name}", workspace.pk).status_code == 404
    assert not TerraformRun.objects.exists()
