"""Linking by programs."""

from __future__ import annotations

import io
import zipfile

import pytest
from rest_framework.test import APIClient

from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.workspaces.models import Workspace
from tests.people import api_of, person

from .conftest import NUMBER, Role

URL = "/api/v1/cloud-accounts/"


def test_the_whole_way(api: APIClient, role: Role) -> None:
    made = api.post(URL, {"name": "Mine"})
    assert made.status_code == 201
    one, body = f"{URL}{made.json()['id']}/", made.json()
    assert (body["state"], body["orca_account_id"]) == ("pending", "123456789012")
    assert body["role_name"] == f"orca-link-{body['id'][-6:]}"
    setup = api.get(one + "setup/").json()
    assert setup["stack_url"].startswith("https://console.aws.amazon.com/cloudformation/home?region=eu-central-1#")
    assert body["external_id"] in setup["terraform_variables"]
    with zipfile.ZipFile(io.BytesIO(api.get(one + "module/").content)) as archive:
        assert body["external_id"] in archive.read("orca-link/terraform.tfvars").decode()
    assert "Resources" in api.get(one + "template/").json()

    found = api.post(one + "check/", {"role": NUMBER})
    assert (found.status_code, found.json()["state"]) == (200, "pending")
    role.lets_in.add(body["external_id"])
    found = api.post(one + "check/")
    assert (found.status_code, found.json()["state"]) == (200, "linked")
    assert found.json()["account_id"] == NUMBER
    assert [account["id"] for account in api.get(URL).json()["results"]] == [body["id"]]

    fresh = api.post(one + "rotate/").json()["next_external_id"]
    assert api.post(one + "rotate/finish/").json() == {"old": True, "new": False, "switched": False}
    role.lets_in.add(fresh)
    assert api.post(one + "rotate/finish/").json()["switched"]
    assert api.post(one + "rotate/cancel/").status_code == 409
    assert api.post(one + "unlink/").json()["state"] == "unlinked"
    assert api.get(URL).json()["results"] == []
    assert api.get(one).json()["state"] == "unlinked"


def test_asking_twice_with_one_key_makes_one_link(api: APIClient, role: Role) -> None:
    answers = [api.post(URL, {"name": "Mine"}, headers={"Idempotency-Key": "once"}).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert CloudAccount.objects.filter(owner__isnull=False).count() == 1


def test_a_workspace_is_placed_in_a_linked_account(api: APIClient, linked: CloudAccount) -> None:
    made = api.post("/api/v1/workspaces/", {"name": "far", "cloud_account": linked.pk})
    assert (made.status_code, made.json()["cloud_account"]) == (202, linked.pk)
    assert Workspace.objects.get().cloud_account == linked
    home = api.post("/api/v1/workspaces/", {"name": "home"})
    assert home.json()["cloud_account"] is None
    (living,) = api.get(f"{URL}{linked.pk}/").json()["workspaces"]
    assert (living["id"], living["name"]) == (made.json()["id"], "far")
    refused = api.post(f"{URL}{linked.pk}/unlink/")
    assert (refused.status_code, refused.json()["code"]) == (409, "workspaces_live_there")


@pytest.mark.parametrize("state", ["pending", "broken", "unlinked"])
def test_nothing_is_placed_in_an_account_that_does_not_work(api: APIClient, linked: CloudAccount, state: str) -> None:
    CloudAccount.objects.filter(pk=linked.pk).update(state=state)
    answer = api.post("/api/v1/workspaces/", {"name": "far", "cloud_account": linked.pk})
    assert (answer.status_code, answer.json()["code"]) == (409, "account_not_linked")
    assert "cloud_account" in answer.json()["fields"]


def test_somebody_elses_account_is_not_there(linked: CloudAccount, outsider: User, cloud_account: CloudAccount) -> None:
    theirs = api_of(outsider)
    for account in (linked.pk, cloud_account.pk, "nothing"):
        answer = theirs.post("/api/v1/workspaces/", {"name": "x", "cloud_account": account})
        assert answer.status_code == 404
    assert theirs.get(URL).json()["results"] == []
    assert not Workspace.objects.exists()


def test_two_people_may_link_under_one_name(api: APIClient, role: Role) -> None:
    api.post(URL, {"name": "Mine"})
    assert api.post(URL, {"name": "Mine"}).status_code == 409
    assert api_of(person("bob@example.org")).post(URL, {"name": "Mine"}).status_code == 201
