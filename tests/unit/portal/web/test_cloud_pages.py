"""The pages on which an account is linked, checked and unlinked."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal.accounts.models import User
from portal.clouds import links
from portal.clouds.models import CloudAccount
from portal.workspaces import services
from portal.workspaces.models import Workspace
from tests.unit.portal.clouds.conftest import NUMBER, Role, begun, linked, role

__all__ = ["begun", "linked", "role"]
pytestmark = pytest.mark.django_db


def page(browser: Client, account: CloudAccount) -> str:
    return browser.get(reverse("cloud", args=[account.pk])).content.decode()


def pressed(browser: Client, name: str, account: CloudAccount, **form: str) -> Any:
    back = f"http://testserver/clouds/{account.pk}/"
    return browser.post(reverse(name, args=[account.pk]), form, headers={"Referer": back}, follow=True)


def test_only_a_name_is_asked_for(browser: Client, role: Role) -> None:
    assert "No account linked" in browser.get(reverse("cloud_list")).content.decode()
    answer = browser.post(reverse("cloud_new"), {"name": "Mine"})
    account = CloudAccount.objects.get(owner__isnull=False)
    assert answer.headers["Location"] == reverse("cloud", args=[account.pk])
    shown = page(browser, account)
    assert account.external_id in shown
    assert "https://console.aws.amazon.com/cloudformation/home?region=eu-central-1#/stacks/quickcreate?" in shown
    assert "Secret" not in shown.replace("Secrets", "")
    assert "Mine" in browser.get(reverse("cloud_list")).content.decode()


def test_a_name_that_is_taken_is_said_at_its_field(browser: Client, begun: CloudAccount) -> None:
    answer = browser.post(reverse("cloud_new"), {"name": "Mine"})
    assert answer.status_code == 409
    assert answer.context["form"].errors["name"] == ["Already taken"]


def test_the_check_says_what_is_missing(browser: Client, begun: CloudAccount, role: Role) -> None:
    answer = pressed(browser, "cloud_check", begun, role=NUMBER).content.decode()
    assert f"AWS does not let Orca assume arn:aws:iam::{NUMBER}:role/" in answer
    assert "Not looked at" in answer
    role.lets_in.add(begun.external_id)
    role.without.add("ec2:RunInstances")
    answer = pressed(browser, "cloud_check", begun, role=NUMBER).content.decode()
    assert "Missing: ec2:RunInstances." in answer
    assert "New workspace here" not in answer
    role.without.clear()
    answer = pressed(browser, "cloud_check", begun, role=NUMBER).content.decode()
    assert "Linked: you can build here now." in answer
    assert "New workspace here" in answer


def test_what_an_account_works_without_is_said(browser: Client, begun: CloudAccount, role: Role) -> None:
    role.lets_in.add(begun.external_id)
    role.without.add("ecr:PutLifecyclePolicy")
    answer = pressed(browser, "cloud_check", begun, role=NUMBER).content.decode()
    assert "Linked: you can build here now." in answer
    assert "each builds its own, and all else works. Missing: ecr:PutLifecyclePolicy." in answer
    assert "envs/link or the CloudFormation template again" in answer


@pytest.mark.parametrize("given", ["", "1234", "nobody"])
def test_what_is_no_role_is_said_at_its_field(browser: Client, begun: CloudAccount, given: str) -> None:
    answer = pressed(browser, "cloud_check", begun, role=given)
    assert answer.status_code == 422
    assert answer.context["form"].errors["role"]


def test_no_answer_is_told_and_changes_nothing(browser: Client, linked: CloudAccount, role: Role) -> None:
    role.answers = False
    answer = pressed(browser, "cloud_check", linked, role=NUMBER)
    assert answer.status_code == 502
    assert "did not answer" in answer.content.decode()
    linked.refresh_from_db()
    assert linked.state == "linked"


def test_the_module_is_handed_out_and_the_template(browser: Client, begun: CloudAccount) -> None:
    answer = browser.get(reverse("cloud_module", args=[begun.pk]))
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert begun.external_id in archive.read("orca-link/terraform.tfvars").decode()
    assert "Resources" in browser.get(reverse("cloud_template", args=[begun.pk])).json()


def test_a_workspace_is_built_where_one_chooses(browser: Client, linked: CloudAccount, role: Role) -> None:
    form = {"name": "far", "instance_type": "t3.small", "volume_gb": "20"}
    shown = browser.get(reverse("workspace_new"), {"cloud": linked.pk}).content.decode()
    assert f'<option value="{linked.pk}" selected>' in shown
    browser.post(reverse("workspace_new"), form | {"cloud_account": linked.pk})
    workspace = Workspace.objects.get()
    assert workspace.cloud_account == linked
    assert "Mine (222222222222)" in browser.get(reverse("workspace", args=[workspace.pk])).content.decode()
    role.lets_in.clear()
    links.link_check(account=linked, by=None)
    refused = browser.post(reverse("workspace_new"), form | {"name": "x", "cloud_account": linked.pk})
    assert "not one of the available choices" in refused.content.decode()


def test_without_a_link_there_is_no_choice_but_a_way_to_it(browser: Client, role: Role) -> None:
    shown = browser.get(reverse("workspace_new")).content.decode()
    assert 'name="cloud_account"' not in shown
    assert reverse("cloud_list") in shown


def test_the_external_id_is_exchanged(browser: Client, linked: CloudAccount, role: Role) -> None:
    pressed(browser, "cloud_rotate", linked)
    linked.refresh_from_db()
    assert linked.next_external_id in page(browser, linked)
    assert "does not work yet" in pressed(browser, "cloud_rotate_finish", linked).content.decode()
    role.lets_in.add(linked.next_external_id)
    assert "Take it out of the role" in pressed(browser, "cloud_rotate_finish", linked).content.decode()
    assert "Make a new ExternalId" in page(browser, linked)
    pressed(browser, "cloud_rotate", linked)
    assert "stays as it is" in pressed(browser, "cloud_rotate_cancel", linked).content.decode()


def test_unlinking_says_what_happens_and_asks_for_the_name(browser: Client, linked: CloudAccount, owner: User) -> None:
    assert "Nothing of Orca's lives here" in page(browser, linked)
    workspace = services.workspace_create(owner=owner, name="far", cloud_account=linked)
    shown = page(browser, linked)
    assert "1 workspace lives here" in shown
    assert 'data-must="Mine"' in shown
    assert "A workspace lives in Mine: far" in pressed(browser, "cloud_unlink", linked).content.decode()
    said = pressed(browser, "cloud_unlink", linked, abandon="on", confirm_name="Mine").content.decode()
    assert "Mine is unlinked" in said
    workspace.refresh_from_db()
    assert workspace.state == "destroyed"
    assert "link it anew" in page(browser, linked)
    assert 'data-open="apply-dialog"' not in browser.get(reverse("workspace", args=[workspace.pk])).content.decode()
