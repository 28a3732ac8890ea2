"""The page of a workspace's secrets: they go in, and never come out."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from django.test import Client
from django.urls import reverse

from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.core.errors import CloudFault
from portal.gateways import aws_secrets
from portal.workspaces.models import Secret, Workspace
from tests.unit.portal.pipelines.conftest import ready_workspace

from .conftest import assert_no_inline

VALUE = "hunter2-hunter2"


@pytest.fixture
def workspace(owner: User, cloud_account: CloudAccount) -> Workspace:
    return ready_workspace(owner, cloud_account)


def stored(workspace: Workspace, name: str = "API_KEY") -> str:
    manager: Any = boto3.client("secretsmanager", region_name="eu-central-1")
    return str(manager.get_secret_value(SecretId=f"orca/{workspace.pk}/{name}")["SecretString"])


def save(browser: Client, workspace: Workspace, name: str = "API_KEY", value: str = VALUE) -> Any:
    return browser.post(reverse("secret_save", args=[workspace.pk]), {"name": name, "value": value})


def test_one_is_added_replaced_and_deleted(browser: Client, workspace: Workspace) -> None:
    page = reverse("secret_list", args=[workspace.pk])
    assert "There are none yet" in browser.get(page).content.decode()
    assert save(browser, workspace).headers["Location"] == page
    shown = browser.get(page).content.decode()
    assert_no_inline(shown)
    assert "API_KEY" in shown
    assert VALUE not in shown
    assert 'value="API_KEY"' in browser.get(page + "?replace=API_KEY").content.decode()
    save(browser, workspace, "api_key", "another-value")
    assert stored(workspace) == "another-value"
    browser.post(reverse("secret_delete", args=[workspace.pk, "API_KEY"]))
    assert not Secret.objects.exists()
    assert "API_KEY is deleted" in browser.get(page).content.decode()


def test_what_was_typed_does_not_come_back(browser: Client, workspace: Workspace) -> None:
    for name, value in (("not a name", VALUE), ("AWS_KEY", VALUE), ("API_KEY", "abc")):
        answer = save(browser, workspace, name, value)
        assert answer.status_code == 422
        shown = answer.content.decode()
        assert value not in shown.replace("abcdef", "")
        assert name.split()[0].lower() in shown.lower()
    assert not Secret.objects.exists()


def test_a_cloud_that_refuses_is_told(browser: Client, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any) -> None:
        raise CloudFault("The cloud did not answer.", hint="Try again.", retryable=True)

    monkeypatch.setattr(aws_secrets, "secret_put", refuse)
    answer = save(browser, workspace)
    assert answer.status_code == 502
    assert "The cloud did not answer." in answer.content.decode()
    assert VALUE not in answer.content.decode()


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("token-token\r\n", "token-token"),
        ("-----BEGIN-----\r\nabc\r\n-----END-----\r\n", "-----BEGIN-----\nabc\n-----END-----\n"),
        ("  spaces  ", "  spaces  "),
    ],
)
def test_a_value_is_kept_as_it_was_before_the_browser(
    browser: Client, workspace: Workspace, typed: str, kept: str
) -> None:
    save(browser, workspace, value=typed)
    assert stored(workspace) == kept


def test_the_workspaces_page_names_them(browser: Client, workspace: Workspace) -> None:
    save(browser, workspace)
    shown = browser.get(reverse("workspace", args=[workspace.pk])).content.decode()
    assert "API_KEY" in shown
    assert reverse("secret_list", args=[workspace.pk]) in shown


def test_a_workspace_that_is_gone_takes_none(browser: Client, workspace: Workspace) -> None:
    Workspace.objects.filter(pk=workspace.pk).update(state="destroyed")
    assert "<textarea" not in browser.get(reverse("secret_list", args=[workspace.pk])).content.decode()
    assert save(browser, workspace).status_code == 409


def test_others_see_nothing(outsider_browser: Client, workspace: Workspace) -> None:
    assert outsider_browser.get(reverse("secret_list", args=[workspace.pk])).status_code == 404
    assert save(outsider_browser, workspace).status_code == 404
    assert not Secret.objects.exists()
