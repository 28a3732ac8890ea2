"""Taking a workspace down takes its secrets with it; Terraform is a stand-in here, the rest is real."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.core.errors import CloudFault
from portal.gateways import aws_secrets
from portal.gateways.terraform_events import PlanResult
from portal.workspaces import secrets, terraform_director
from portal.workspaces.models import Secret, TerraformLine, Workspace
from portal.workspaces.services import workspace_apply, workspace_destroy
from tests.unit.portal.pipelines.conftest import ready_workspace

pytestmark = pytest.mark.django_db(transaction=True)


class NothingToDo:
    """In the place of Terraform: whatever is asked is done at once."""

    def __init__(self, *given: Any, **more: Any) -> None:
        return

    def init(self) -> None:
        return

    def lock_holder(self) -> None:
        return

    def plan(self, *given: Any, **more: Any) -> PlanResult:
        return PlanResult(())

    def apply(self, *given: Any) -> None:
        return

    def outputs(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def workspace(owner: User, cloud_account: CloudAccount, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(terraform_director, "TerraformWorkspace", NothingToDo)
    made = ready_workspace(owner, cloud_account)
    for name in ("A", "B"):
        secrets.secret_put(workspace=made, name=name, value="hunter2", by=owner)
    return made


def names_left() -> list[str]:
    manager: Any = boto3.client("secretsmanager", region_name="eu-central-1")
    return [found["Name"] for found in manager.list_secrets()["SecretList"]]


@pytest.mark.parametrize("with_data", [False, True])
def test_they_go_whether_the_data_stays_or_not(workspace: Workspace, owner: User, with_data: bool) -> None:
    assert len(names_left()) == 2
    run = workspace_destroy(workspace=workspace, by=owner, delete_data=with_data, confirm_name=workspace.name)
    assert terraform_director.terraform_run_execute(run_id=run.pk) == "succeeded"
    workspace.refresh_from_db()
    assert workspace.state == "destroyed"
    assert not Secret.objects.exists()
    assert names_left() == []
    assert TerraformLine.objects.filter(run=run, text="Deleted 2 of the workspace's secrets.").exists()


def test_applying_again_leaves_them(workspace: Workspace, owner: User) -> None:
    run = workspace_apply(workspace=workspace, by=owner)
    assert terraform_director.terraform_run_execute(run_id=run.pk) == "succeeded"
    assert len(names_left()) == Secret.objects.count() == 2


def test_a_cloud_that_does_not_let_them_go_is_told(
    workspace: Workspace, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any) -> None:
        raise CloudFault("The cloud account did not allow Orca to delete the secret.", code="cloud_denied")

    run = workspace_destroy(workspace=workspace, by=owner)
    with monkeypatch.context() as patched:
        patched.setattr(aws_secrets, "secret_delete", refuse)
        assert terraform_director.terraform_run_execute(run_id=run.pk) == "failed"
    run.refresh_from_db()
    assert run.error_code == "cloud_denied"
    assert Secret.objects.count() == 2
    again = workspace_destroy(workspace=workspace, by=owner)
    assert terraform_director.terraform_run_execute(run_id=again.pk) == "succeeded"
    assert names_left() == []
