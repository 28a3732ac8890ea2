"""Secrets of a workspace: written by whoever owns it, read by nobody here, gone with the workspace."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from auditlog.models import LogEntry
from botocore.exceptions import ClientError
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.core.errors import CloudFault, Conflict, Invalid, LimitReached, NotFound
from portal.gateways import aws_secrets, provisioner_policy
from portal.gateways.aws import Account
from portal.workspaces import secrets
from portal.workspaces.models import Secret, Workspace
from tests.unit.portal.pipelines.conftest import ready_workspace

VALUE = "hunter2-hunter2"


@pytest.fixture
def workspace(owner: User, cloud_account: CloudAccount) -> Workspace:
    return ready_workspace(owner, cloud_account)


def stored(workspace: Workspace, name: str = "API_KEY") -> str | None:
    """What the cloud has."""
    manager: Any = boto3.client("secretsmanager", region_name="eu-central-1")
    try:
        return str(manager.get_secret_value(SecretId=f"orca/{workspace.pk}/{name}")["SecretString"])
    except ClientError:
        return None


def put(workspace: Workspace, name: str = "API_KEY", value: str = VALUE) -> tuple[Secret, bool]:
    return secrets.secret_put(workspace=workspace, name=name, value=value, by=workspace.owner)


def test_a_secret_lies_in_the_cloud_and_not_here(workspace: Workspace) -> None:
    secret, is_new = put(workspace)
    assert (stored(workspace), is_new) == (VALUE, True)
    assert secret.changed_by == secret.created_by == workspace.owner
    dumped = json.dumps(list(Secret.objects.values()), default=str) + json.dumps(
        list(LogEntry.objects.values()), default=str
    )
    assert VALUE not in dumped
    assert "API_KEY" in dumped


def test_it_is_replaced_and_deleted(workspace: Workspace) -> None:
    first, _ = put(workspace)
    again, is_new = put(workspace, value="another-value")
    assert (stored(workspace), is_new, again.pk) == ("another-value", False, first.pk)
    assert again.changed_at is not None
    assert first.changed_at is not None
    assert again.changed_at > first.changed_at
    secrets.secret_delete(workspace=workspace, name="API_KEY", by=workspace.owner)
    assert stored(workspace) is None
    assert not secrets.secrets_of(workspace).exists()
    with pytest.raises(NotFound):
        secrets.secret_delete(workspace=workspace, name="API_KEY", by=workspace.owner)
    _, is_new = put(workspace)
    assert (stored(workspace), is_new) == (VALUE, True)


def test_the_trail_says_who_did_it(workspace: Workspace) -> None:
    put(workspace)
    put(workspace)
    secrets.secret_delete(workspace=workspace, name="API_KEY", by=workspace.owner)
    trail = [entry.additional_data for entry in LogEntry.objects.get_for_object(workspace).order_by("pk")]
    assert [(said["what"], said["name"]) for said in trail if said and "secret" in said["what"]] == [
        ("workspace.secret_put", "API_KEY"),
        ("workspace.secret_put", "API_KEY"),
        ("workspace.secret_delete", "API_KEY"),
    ]


@pytest.mark.parametrize(
    "name", ["", "1A", "api_key", "A-B", "A B", "A/B", "../A", "Ä", "A" * 101, "ORCA_RUN_ID", "AWS_X", "LD_X"]
)
def test_a_name_is_that_of_a_variable(workspace: Workspace, name: str) -> None:
    with pytest.raises(Invalid) as refused:
        put(workspace, name)
    assert list(refused.value.fields) == ["name"]
    assert not Secret.objects.exists()


@pytest.mark.parametrize("value", ["", "abc", "x" * 65_537, "ü" * 32_769, "a\0bcd", "abcd\ud800"])
def test_a_value_is_text_of_a_bounded_size(workspace: Workspace, value: str) -> None:
    with pytest.raises(Invalid) as refused:
        put(workspace, value=value)
    assert list(refused.value.fields) == ["value"]


def test_64_kilobytes_are_kept(workspace: Workspace) -> None:
    put(workspace, value="ü" * 32_768)
    assert stored(workspace) == "ü" * 32_768


def test_there_is_a_limit(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "MOST_SECRETS", 2)
    put(workspace, "A")
    put(workspace, "B")
    put(workspace, "B", "another")
    with pytest.raises(LimitReached):
        put(workspace, "C")


@pytest.mark.parametrize("state", ["destroying", "destroyed"])
def test_a_workspace_that_goes_takes_none(workspace: Workspace, state: str) -> None:
    Workspace.objects.filter(pk=workspace.pk).update(state=state)
    with pytest.raises(Conflict):
        put(workspace)
    assert stored(workspace) is None


def test_what_breaks_off_is_not_shown_and_not_forgotten(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def store_and_break(*given: Any) -> None:
        original(*given)
        raise CloudFault("The cloud did not answer.", retryable=True)

    original = aws_secrets.secret_put
    monkeypatch.setattr(aws_secrets, "secret_put", store_and_break)
    with pytest.raises(CloudFault):
        put(workspace)
    assert not secrets.secrets_of(workspace).exists()
    assert secrets.secrets_delete_all(workspace=workspace) == 1
    assert stored(workspace) is None


def test_one_that_is_deleted_while_it_is_written_stays_deleted(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deleted_meanwhile(*given: Any) -> None:
        Secret.objects.all().delete()
        original(*given)

    original = aws_secrets.secret_put
    monkeypatch.setattr(aws_secrets, "secret_put", deleted_meanwhile)
    with pytest.raises(Conflict):
        put(workspace)
    assert stored(workspace) is None


def test_an_error_of_the_cloud_does_not_quote_the_value(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def quote(*given: Any) -> None:
        said = {"Error": {"Code": "ValidationException", "Message": f"Value {VALUE!r} is not good"}}
        raise ClientError(said, "PutSecretValue")  # type: ignore[arg-type]

    monkeypatch.setattr(aws_secrets, "_replace", quote)
    with pytest.raises(CloudFault) as fault:
        put(workspace)
    assert VALUE not in fault.value.message


def refuse(code: str) -> Any:
    def act(*given: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "X")

    return act


def test_a_name_that_is_not_free_yet_is_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_secrets, "_create", refuse("InvalidRequestException"))
    with pytest.raises(CloudFault) as fault:
        put(workspace)
    assert (fault.value.code, fault.value.retryable) == ("secret_leaving", True)


def test_a_rival_may_make_it_first(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def made_by_another(account: Account, workspace_id: str, name: str, value: str) -> None:
        original(account, workspace_id, name, "of the rival")
        original(account, workspace_id, name, value)

    original = aws_secrets._create
    monkeypatch.setattr(aws_secrets, "_create", made_by_another)
    put(workspace)
    assert stored(workspace) == VALUE


def test_all_go_with_the_workspace_and_those_of_others_stay(workspace: Workspace, cloud_account: CloudAccount) -> None:
    other = ready_workspace(workspace.owner, cloud_account, name="other")
    put(workspace, "A")
    put(workspace, "B")
    put(other, "A")
    assert secrets.secrets_delete_all(workspace=workspace) == 2
    assert (stored(workspace, "A"), stored(workspace, "B"), stored(other, "A")) == (None, None, VALUE)
    assert Secret.objects.get().workspace == other


def test_the_portals_role_cannot_read_them() -> None:
    allowed = [
        action
        for statement in provisioner_policy.document("1" * 12)["Statement"]
        for action in statement["Action"]
        if action.startswith("secretsmanager:")
    ]
    assert len(allowed) == 4
    assert not [
        action for action in allowed if "Get" in action or "*" in action or "Resource" in action.split(":")[1][:8]
    ]


# By the API


def address(workspace: Workspace, name: str = "") -> str:
    return f"/api/v1/workspaces/{workspace.pk}/secrets/" + (f"{name}/" if name else "")


def test_the_api_writes_and_never_reads(api: APIClient, workspace: Workspace) -> None:
    made = api.put(address(workspace, "API_KEY"), {"value": VALUE}, format="json")
    assert made.status_code == 201
    assert made.json().keys() == {"name", "created_at", "created_by", "changed_at", "changed_by"}
    assert made.json()["changed_by"] == workspace.owner.email
    again = api.put(address(workspace, "API_KEY"), {"value": "  with spaces \n"}, format="json")
    assert (again.status_code, stored(workspace)) == (200, "  with spaces \n")
    listed = api.get(address(workspace))
    assert [secret["name"] for secret in listed.json()["results"]] == ["API_KEY"]
    assert "with spaces" not in listed.content.decode() + again.content.decode()
    assert api.get(address(workspace, "API_KEY")).status_code == 405
    assert api.delete(address(workspace, "API_KEY")).status_code == 204
    assert api.delete(address(workspace, "API_KEY")).status_code == 404
    assert stored(workspace) is None


def test_the_api_says_what_is_wrong(api: APIClient, workspace: Workspace) -> None:
    refused = api.put(address(workspace, "api-key"), {"value": "x"}, format="json")
    assert refused.status_code == 422
    assert refused.json()["fields"].keys() == {"name", "value"}
    assert api.put(address(workspace, "API_KEY"), {}, format="json").status_code in {400, 422}


def test_others_cannot(outsider_api: APIClient, workspace: Workspace) -> None:
    put(workspace)
    assert outsider_api.get(address(workspace)).status_code == 404
    assert outsider_api.put(address(workspace, "API_KEY"), {"value": "mine now"}, format="json").status_code == 404
    assert outsider_api.delete(address(workspace, "API_KEY")).status_code == 404
    assert stored(workspace) == VALUE


def test_the_list_asks_little(
    api: APIClient, workspace: Workspace, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(5):
        put(workspace, f"S{number}")
    with django_assert_max_num_queries(4):
        assert len(api.get(address(workspace)).json()["results"]) == 5
