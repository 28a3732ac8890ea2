"""What people ask of workspaces, and the lock that keeps Terraform runs apart."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.utils import timezone
from pytest_django import Settings

from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.core.errors import Conflict, Invalid, LimitReached, OrcaError
from portal.workspaces import services, terraform_runs
from portal.workspaces.models import Instance, TerraformRun, Workspace
from tests.people import person


@pytest.fixture
def owner(db: None) -> User:
    return person("ada@example.org")


@pytest.fixture
def made(owner: User, cloud_account: CloudAccount) -> Workspace:
    return services.workspace_create(owner=owner, name="  my   lab ")


def run_of(workspace: Workspace) -> TerraformRun:
    return TerraformRun.objects.get(pk=Workspace.objects.get(pk=workspace.pk).active_run_id)


def ended(workspace: Workspace, state: str = "succeeded", error: OrcaError | None = None) -> Workspace:
    """Let the active run end, as the director would."""
    run = run_of(workspace)
    TerraformRun.objects.filter(pk=run.pk).update(state="applying")
    run.refresh_from_db()
    terraform_runs.terraform_run_end(run=run, state=state, error=error)
    return Workspace.objects.get(pk=workspace.pk)


def test_a_new_workspace_is_planned_and_locked(made: Workspace) -> None:
    assert (made.name, made.state) == ("my lab", "planning")
    assert run_of(made).operation == "apply"
    assert LogEntry.objects.filter(additional_data__what="workspace.apply").count() == 1


def test_names_differ_per_owner_and_are_free_again_in_the_end(made: Workspace, owner: User) -> None:
    with pytest.raises(Conflict) as caught:
        services.workspace_create(owner=owner, name="my lab")
    assert caught.value.fields == {"name": "already taken"}
    services.workspace_create(owner=person("bob@example.org"), name="my lab")
    ended(made)
    services.workspace_destroy(workspace=made, by=owner, delete_data=True, confirm_name="my lab")
    assert ended(made).claimed_name is None
    services.workspace_create(owner=owner, name="my lab")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 61}, "name"),
        ({"name": "a\x07b"}, "name"),
        ({"name": "a", "instance_type": "p5.48xlarge"}, "instance_type"),
        ({"name": "a", "volume_gb": 7}, "volume_gb"),
        ({"name": "a", "volume_gb": 100_000}, "volume_gb"),
    ],
)
def test_bad_input_names_its_field(owner: User, cloud_account: CloudAccount, given: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        services.workspace_create(owner=owner, **given)
    assert list(caught.value.fields) == [field]


def test_the_quota_holds(made: Workspace, owner: User, settings: Settings) -> None:
    settings.MAX_WORKSPACES = 1
    with pytest.raises(LimitReached):
        services.workspace_create(owner=owner, name="second")


def test_an_unapproved_account_gets_nothing(owner: User, cloud_account: CloudAccount, settings: Settings) -> None:
    settings.SIGNUP_APPROVAL = True
    with pytest.raises(Conflict) as caught:
        services.workspace_create(owner=owner, name="lab")
    assert caught.value.code == "not_approved"


def test_without_a_cloud_account_the_operator_is_told(owner: User) -> None:
    with pytest.raises(Conflict) as caught:
        services.workspace_create(owner=owner, name="lab")
    assert "platform_ensure" in caught.value.hint


def test_a_second_run_is_refused_and_told_who_holds_the_lock(made: Workspace, owner: User) -> None:
    with pytest.raises(Conflict) as caught:
        services.workspace_apply(workspace=made, by=owner)
    assert "ada@example.org" in caught.value.message
    assert TerraformRun.objects.count() == 1


def test_a_failed_build_says_why_and_gives_the_lock_back(made: Workspace, owner: User) -> None:
    workspace = ended(made, "failed", OrcaError("No machines left.", code="quota"))
    assert (workspace.state, workspace.state_reason, workspace.active_run) == ("failed", "No machines left.", None)
    services.workspace_apply(workspace=workspace, by=owner)
    assert workspace.state == "planning"


def test_a_built_workspace_waits_for_its_first_report(made: Workspace) -> None:
    TerraformRun.objects.update(state="applying")
    Workspace.objects.update(state="applying")
    assert ended(made).state == "applying"


def test_destroying_keeps_the_data_and_the_name(made: Workspace, owner: User) -> None:
    ended(made)
    workspace = Workspace.objects.get(pk=made.pk)
    services.workspace_destroy(workspace=workspace, by=owner)
    assert workspace.state == "destroying"
    gone = ended(workspace)
    assert (gone.state, gone.data_kept, gone.claimed_name) == ("destroyed", True, "my lab")
    services.workspace_apply(workspace=gone, by=owner)  # the data outlives a rebuild
    assert gone.state == "planning"


def test_destroying_data_takes_the_name(made: Workspace, owner: User) -> None:
    ended(made)
    for wrong in ("", "lab", "MY LAB"):
        with pytest.raises(Invalid) as caught:
            services.workspace_destroy(workspace=made, by=owner, delete_data=True, confirm_name=wrong)
        assert caught.value.code == "confirmation_needed"


def test_stopping_and_starting_follow_the_state(made: Workspace, owner: User) -> None:
    with pytest.raises(Conflict) as caught:
        services.workspace_stop(workspace=Workspace.objects.get(pk=made.pk), by=owner)
    assert caught.value.code == "workspace_locked"
    workspace = ended(made)
    Workspace.objects.update(state="ready")
    workspace.refresh_from_db()
    services.workspace_stop(workspace=workspace, by=owner)
    assert workspace.state == "stopping"
    with pytest.raises(Conflict):
        services.workspace_start(workspace=workspace, by=owner)
    Workspace.objects.update(state="stopped")
    workspace.refresh_from_db()
    services.workspace_start(workspace=workspace, by=owner)
    assert workspace.state == "applying"


@pytest.fixture
def settling(made: Workspace) -> Workspace:
    """Ready, and Terraform still at work on it."""
    Instance.objects.create(workspace=made, instance_id="i-1", state="running", heartbeat_at=timezone.now())
    TerraformRun.objects.update(state="applying", heartbeat_at=timezone.now())
    Workspace.objects.update(state="ready", ready_at=timezone.now())
    return Workspace.objects.get(pk=made.pk)


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
def test_a_stop_while_terraform_builds_is_done_when_that_has_ended(settling: Workspace, owner: User, end: str) -> None:
    services.workspace_stop(workspace=settling, by=owner)
    assert (settling.state, settling.stop_requested_at is None) == ("ready", False)
    assert LogEntry.objects.filter(additional_data__what="workspace.stop", actor=owner).count() == 1
    after = ended(settling, end)
    assert (after.state, after.stop_requested_at, after.active_run) == ("stopping", None, None)


def test_what_is_put_off_outlives_the_worker(
    settling: Workspace, owner: User, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    services.workspace_stop(workspace=settling, by=owner)
    silent = timezone.now() - timedelta(seconds=31)
    TerraformRun.objects.update(heartbeat_at=silent, attempts=1)
    assert terraform_runs.terraform_runs_sweep() == 1
    assert Workspace.objects.get().state == "ready"
    sent: list[tuple[str, ...]] = []
    monkeypatch.setattr("portal.core.background.enqueue", lambda *what, seconds: sent.append(what))
    with django_capture_on_commit_callbacks(execute=True):
        assert ended(settling).state == "stopping"
    assert (terraform_runs.POWER, settling.pk) in sent


def test_a_stop_that_is_put_off_can_be_taken_back(settling: Workspace, owner: User) -> None:
    services.workspace_stop(workspace=settling, by=owner)
    services.workspace_start(workspace=settling, by=owner)
    assert ended(settling).state == "ready"


def test_a_stop_does_not_wait_for_a_run_that_has_just_ended(settling: Workspace, owner: User) -> None:
    stale = Workspace.objects.get(pk=settling.pk)
    ended(settling)
    services.workspace_stop(workspace=stale, by=owner)
    assert (stale.state, stale.stop_requested_at) == ("stopping", None)


def test_a_stop_is_not_put_off_until_a_persons_yes(settling: Workspace, owner: User) -> None:
    for state in ("queued", "planning", "planned"):
        TerraformRun.objects.update(state=state, review=True)
        with pytest.raises(Conflict) as caught:
            services.workspace_stop(workspace=settling, by=owner)
        assert caught.value.code == "workspace_locked"
    assert Workspace.objects.get().stop_requested_at is None


def test_a_workspace_that_is_being_taken_down_is_not_stopped(settling: Workspace, owner: User) -> None:
    ended(settling)
    settling.refresh_from_db()
    services.workspace_destroy(workspace=settling, by=owner)
    with pytest.raises(Conflict):
        services.workspace_stop(workspace=settling, by=owner)
    assert ended(settling).state == "destroyed"


def test_a_wish_to_stop_does_not_hide_that_a_build_failed(made: Workspace, owner: User) -> None:
    TerraformRun.objects.update(state="applying")
    Workspace.objects.update(state="applying")
    services.workspace_stop(workspace=made, by=owner)
    after = ended(made, "failed", OrcaError("denied", code="cloud_denied"))
    assert (after.state, after.state_reason, after.stop_requested_at) == ("failed", "denied", None)


def test_a_plan_that_waits_can_be_refused(made: Workspace, owner: User) -> None:
    run = run_of(made)
    TerraformRun.objects.update(state="planned", review=True)
    run.refresh_from_db()
    terraform_runs.terraform_run_cancel(run=run, by=owner)
    workspace = Workspace.objects.get(pk=made.pk)
    assert (run.state, workspace.state, workspace.active_run) == ("cancelled", "failed", None)


def test_a_plan_is_approved_once(made: Workspace, owner: User) -> None:
    run = run_of(made)
    TerraformRun.objects.update(state="planned", kept_plan="plans/x")
    run.refresh_from_db()
    terraform_runs.terraform_run_approve(run=run, by=owner)
    with pytest.raises(Conflict):
        terraform_runs.terraform_run_approve(run=run, by=owner)


def test_a_dead_workers_run_is_taken_up_again_and_at_last_ended(made: Workspace) -> None:
    run = run_of(made)
    for attempts in (1, 2):
        silent = timezone.now() - timedelta(seconds=31)
        TerraformRun.objects.filter(pk=run.pk).update(state="applying", heartbeat_at=silent, attempts=attempts)
        assert terraform_runs.terraform_runs_sweep() == 1
        run.refresh_from_db()
        assert (run.state, run.worker) == ("queued", "")
    silent = timezone.now() - timedelta(seconds=31)
    TerraformRun.objects.filter(pk=run.pk).update(state="applying", heartbeat_at=silent, attempts=3)
    terraform_runs.terraform_runs_sweep()
    run.refresh_from_db()
    made.refresh_from_db()
    assert (run.state, run.error_code, made.active_run, made.state) == ("failed", "interrupted", None, "failed")
    assert run.error_hint


def test_a_living_workers_run_is_left_alone(made: Workspace) -> None:
    TerraformRun.objects.update(state="applying", heartbeat_at=timezone.now())
    assert terraform_runs.terraform_runs_sweep() == 0


@pytest.mark.parametrize("operation", ["destroy", "destroy_data"])
def test_what_destroyed_once_does_not_destroy_what_was_built_since(
    made: Workspace, owner: User, operation: str
) -> None:
    ended(made)
    old = terraform_runs.terraform_run_request(workspace=made, operation=operation, by=owner)
    failed = ended(made, "failed", OrcaError("denied"))
    old.refresh_from_db()
    again = terraform_runs.terraform_run_again(run=old, by=owner)
    assert again.operation == operation
    ended(failed)
    again.refresh_from_db()
    with pytest.raises(Conflict):
        terraform_runs.terraform_run_again(run=again, by=owner)
    services.workspace_apply(workspace=Workspace.objects.get(pk=made.pk), by=owner)
    assert ended(made).state == "applying"
    for run in (old, again):
        with pytest.raises(Conflict) as caught:
            terraform_runs.terraform_run_again(run=run, by=owner)
        assert caught.value.code == "outdated_run"


def test_a_failed_update_leaves_a_running_workspace_usable(made: Workspace, owner: User) -> None:
    ended(made)
    Workspace.objects.update(state="ready")
    Instance.objects.create(workspace=made, instance_id="i-1", state="running", heartbeat_at=timezone.now())
    workspace = Workspace.objects.get(pk=made.pk)
    services.workspace_apply(workspace=workspace, by=owner)
    assert workspace.state == "ready"
    after = ended(workspace, "failed", OrcaError("denied", code="cloud_denied"))
    assert (after.state, after.state_reason) == ("ready", "Last update failed: denied")
