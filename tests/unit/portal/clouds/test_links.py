"""Linking an account: what is checked, in which order, what is said, and what is never done."""

from __future__ import annotations

from typing import Any

import pytest
from auditlog.models import LogEntry
from pytest_django import Settings

from portal.accounts.models import User
from portal.clouds import links, selectors
from portal.clouds.models import CloudAccount
from portal.clouds.template import role_name_of
from portal.core.errors import CloudFault, Conflict, Invalid, LimitReached, NotFound, OrcaError
from portal.pipelines.models import Run, Script, ScriptVersion, Step
from portal.workspaces import services, terraform_runs
from portal.workspaces.models import Instance, TerraformRun, Workspace
from portal.workspaces.terraform_director import terraform_variables
from tests.people import person

from .conftest import NUMBER, Role


def found(account: CloudAccount) -> dict[str, str]:
    return {row["key"]: row["state"] for row in account.checks}


def row(account: CloudAccount, key: str) -> dict[str, Any]:
    return next(row for row in account.checks if row["key"] == key)


def test_a_link_begins_with_an_external_id_that_orca_made(begun: CloudAccount, owner: User) -> None:
    other = links.link_start(owner=owner, name="Another")
    assert begun.state == "pending"
    assert len(begun.external_id) >= 32
    assert begun.external_id != other.external_id
    assert not begun.takes_workspaces


@pytest.mark.parametrize(
    ("given", "field"),
    [({"name": " "}, "name"), ({"name": "x" * 81}, "name"), ({"name": "x", "region": "us-east-1"}, "region")],
)
def test_bad_input_names_its_field(role: Role, owner: User, given: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        links.link_start(owner=owner, **given)
    assert list(caught.value.fields) == [field]


def test_names_differ_and_links_are_counted(begun: CloudAccount, owner: User) -> None:
    with pytest.raises(Conflict) as caught:
        links.link_start(owner=owner, name="Mine")
    assert caught.value.code == "name_taken"
    links.link_start(owner=person("bob@example.org"), name="Mine")
    for number in range(links.MOST_LINKS - 1):
        links.link_start(owner=owner, name=f"link {number}")
    with pytest.raises(LimitReached):
        links.link_start(owner=owner, name="one too many")


def test_a_role_that_lets_orca_in_is_linked(linked: CloudAccount, role: Role) -> None:
    assert linked.state == "linked"
    assert linked.role_arn == f"arn:aws:iam::{NUMBER}:role/{role_name_of(linked)}"
    assert set(found(linked).values()) == {"ok"}
    assert list(found(linked))[:2] == ["role", "external_id"]
    assert role.admitted == [{NUMBER}]


def test_a_role_that_refuses_is_not_looked_into(begun: CloudAccount, owner: User) -> None:
    links.link_check(account=begun, by=owner, role=NUMBER)
    assert begun.state == "pending"
    assert row(begun, "role")["state"] == "failed"
    assert {state for key, state in found(begun).items() if key != "role"} == {"skipped"}


def test_a_role_that_needs_no_external_id_is_warned_of_and_not_used(
    begun: CloudAccount, role: Role, owner: User
) -> None:
    role.open_to_all = True
    links.link_check(account=begun, by=owner, role=NUMBER)
    assert begun.state == "pending"
    assert "without any ExternalId" in row(begun, "external_id")["message"]
    assert found(begun)["buckets"] == "skipped"


def test_what_is_missing_is_named(begun: CloudAccount, role: Role, owner: User) -> None:
    role.lets_in.add(begun.external_id)
    role.without |= {"sqs:CreateQueue", "ec2:RunInstances"}
    links.link_check(account=begun, by=owner, role=NUMBER)
    assert begun.state == "pending"
    assert row(begun, "queues")["message"] == "Missing: sqs:CreateQueue."
    assert [gone["action"] for gone in row(begun, "queues")["missing"]] == ["sqs:CreateQueue"]
    assert row(begun, "machines")["message"] == "Missing: ec2:RunInstances."
    assert found(begun)["buckets"] == "ok"
    assert role.admitted == []


def test_a_role_that_may_not_say_what_it_may_do(begun: CloudAccount, role: Role, owner: User) -> None:
    role.lets_in.add(begun.external_id)
    role.may_ask = False
    links.link_check(account=begun, by=owner, role=NUMBER)
    assert row(begun, "self_check")["missing"][0]["action"] == "iam:SimulatePrincipalPolicy"
    assert found(begun)["buckets"] == "skipped"


def test_an_account_from_before_registries_works_without_one(begun: CloudAccount, role: Role, owner: User) -> None:
    role.lets_in.add(begun.external_id)
    role.without.add("ecr:CreateRepository")
    links.link_check(account=begun, by=owner, role=NUMBER)
    assert (begun.state, begun.has_registry) == ("linked", False)
    assert row(begun, "registry")["state"] == "lacking"
    assert row(begun, "registry")["message"].endswith("Missing: ecr:CreateRepository.")
    assert [gone["action"] for gone in row(begun, "registry")["missing"]] == ["ecr:CreateRepository"]
    role.without.clear()
    links.link_check(account=begun, by=owner)
    assert (begun.state, begun.has_registry, row(begun, "registry")["state"]) == ("linked", True, "ok")


def test_what_an_older_role_may_not_look_at_is_said_and_the_rest_works(
    begun: CloudAccount, role: Role, owner: User
) -> None:
    role.lets_in.add(begun.external_id)
    role.without.add("cloudwatch:GetMetricData")
    links.link_check(account=begun, by=owner, role=NUMBER)
    assert (begun.state, row(begun, "measured")["state"]) == ("linked", "lacking")
    assert row(begun, "measured")["message"].endswith("all else works. Missing: cloudwatch:GetMetricData.")


@pytest.mark.parametrize(("lacks", "key"), [("boundary", "boundary"), ("network", "network")])
def test_what_else_has_to_be_there(begun: CloudAccount, role: Role, owner: User, lacks: str, key: str) -> None:
    role.lets_in.add(begun.external_id)
    setattr(role, lacks, False)
    links.link_check(account=begun, by=owner, role=NUMBER)
    assert [key for key, state in found(begun).items() if state == "failed"] == [key]


def test_no_answer_is_no_verdict(linked: CloudAccount, role: Role, owner: User) -> None:
    role.answers = False
    before = linked.checks
    with pytest.raises(CloudFault):
        links.link_check(account=linked, by=owner)
    linked.refresh_from_db()
    assert (linked.state, linked.checks) == ("linked", before)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("", "role_unreadable"),
        ("12345", "role_unreadable"),
        ("arn:aws:iam::222222222222:user/x", "role_unreadable"),
        ("arn:aws:s3:::bucket", "role_unreadable"),
        ("٢٢٢٢٢٢٢٢٢٢٢٢", "role_unreadable"),
        ("123456789012", "own_account"),
        ("arn:aws:iam::123456789012:role/orca-provisioner", "own_account"),
    ],
)
def test_what_is_no_role_of_theirs(begun: CloudAccount, owner: User, given: str, code: str) -> None:
    with pytest.raises(OrcaError) as caught:
        links.link_check(account=begun, by=owner, role=given)
    assert caught.value.code == code
    assert "role" in caught.value.fields


def test_one_role_is_linked_once_by_a_person_but_others_may_claim_nothing(linked: CloudAccount, role: Role) -> None:
    again = links.link_start(owner=linked.owner, name="Again")  # type: ignore[arg-type]
    role.lets_in.add(again.external_id)
    with pytest.raises(Conflict) as caught:
        links.link_check(account=again, by=linked.owner, role=linked.role_arn)
    assert caught.value.code == "role_taken"
    eve = person("eve@example.org")
    theirs = links.link_start(owner=eve, name="Stolen")
    links.link_check(account=theirs, by=eve, role=linked.role_arn)
    assert theirs.state == "pending"
    with pytest.raises(NotFound):
        selectors.account_chosen(owner=eve, account_id=linked.pk)


def test_a_linked_account_whose_role_fails_takes_nothing_new(linked: CloudAccount, role: Role, owner: User) -> None:
    role.lets_in.clear()
    links.link_check(account=linked, by=owner)
    assert linked.state == "broken"
    with pytest.raises(Conflict) as caught:
        selectors.account_chosen(owner=owner, account_id=linked.pk)
    assert caught.value.code == "account_not_linked"
    role.lets_in.add(linked.external_id)
    links.link_check(account=linked, by=owner)
    assert linked.state == "linked"


def test_another_role_takes_over_only_when_it_works(linked: CloudAccount, role: Role, owner: User) -> None:
    before = linked.role_arn
    role.lets_in.clear()
    links.link_check(account=linked, by=owner, role=f"arn:aws:iam::{NUMBER}:role/orca-other")
    assert (linked.role_arn, linked.state) == (before, "linked")
    role.lets_in.add(linked.external_id)
    links.link_check(account=linked, by=owner, role=f"arn:aws:iam::{NUMBER}:role/orca-other")
    assert linked.role_arn.endswith("/orca-other")
    with pytest.raises(Conflict) as caught:
        links.link_check(account=linked, by=owner, role="333333333333")
    assert caught.value.code == "another_account"


def test_the_external_id_is_exchanged_when_the_new_one_works(linked: CloudAccount, role: Role, owner: User) -> None:
    old = linked.external_id
    links.rotation_start(account=linked, by=owner)
    fresh = linked.next_external_id
    assert fresh != old
    with pytest.raises(Conflict):
        links.rotation_start(account=linked, by=owner)
    assert links.rotation_finish(account=linked, by=owner) == {"old": True, "new": False, "switched": False}
    linked.refresh_from_db()
    assert linked.external_id == old
    role.lets_in.add(fresh)
    assert links.rotation_finish(account=linked, by=owner) == {"old": True, "new": True, "switched": True}
    linked.refresh_from_db()
    assert (linked.external_id, linked.next_external_id) == (fresh, "")
    trail = " ".join(str(entry.additional_data) for entry in LogEntry.objects.get_for_object(linked))
    assert old not in trail
    assert fresh not in trail


def test_an_exchange_that_proves_nothing_is_refused(linked: CloudAccount, role: Role, owner: User) -> None:
    links.rotation_start(account=linked, by=owner)
    role.open_to_all = True
    with pytest.raises(Conflict) as caught:
        links.rotation_finish(account=linked, by=owner)
    assert caught.value.code == "role_too_open"
    links.rotation_cancel(account=linked, by=owner)
    with pytest.raises(Conflict):
        links.rotation_finish(account=linked, by=owner)


@pytest.fixture
def inhabited(linked: CloudAccount, owner: User) -> Workspace:
    """A workspace that lives in the linked account, ready."""
    workspace = services.workspace_create(owner=owner, name="far", cloud_account=linked)
    run = TerraformRun.objects.get(pk=workspace.active_run_id)
    TerraformRun.objects.filter(pk=run.pk).update(state="applying")
    run.refresh_from_db()
    terraform_runs.terraform_run_end(run=run, state="succeeded")
    Workspace.objects.filter(pk=workspace.pk).update(state="ready", data_kept=True)
    Instance.objects.create(workspace=workspace, instance_id="i-1", state="running")
    workspace.refresh_from_db()
    return workspace


def test_a_registry_that_is_there_has_to_stay_within_reach(
    inhabited: Workspace, linked: CloudAccount, role: Role, owner: User, settings: Settings
) -> None:
    """Terraform looks at what it has made, each time."""
    settings.IMAGE_REGISTRY = True
    assert terraform_variables(inhabited, "apply")["registry"] is True
    role.without.add("ecr:DescribeRepositories")
    links.link_check(account=linked, by=owner)
    assert (linked.state, row(linked, "registry")["state"]) == ("broken", "failed")
    CloudAccount.objects.filter(pk=linked.pk).update(registry=False)
    linked.refresh_from_db()
    links.link_check(account=linked, by=owner)
    assert (linked.state, row(linked, "registry")["state"]) == ("linked", "lacking")
    inhabited.refresh_from_db()
    assert terraform_variables(inhabited, "apply")["registry"] is False


def test_an_empty_account_is_unlinked_and_can_be_linked_anew(
    linked: CloudAccount, role: Role, owner: User, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        links.link_end(account=linked, by=owner)
    assert linked.state == "unlinked"
    assert role.admitted[-1] == set()
    with pytest.raises(Conflict):
        links.link_end(account=linked, by=owner)
    again = links.link_start(owner=owner, name="Mine")
    role.lets_in.add(again.external_id)
    links.link_check(account=again, by=owner, role=linked.role_arn)
    assert again.state == "linked"


def test_workspaces_hold_an_account_until_they_are_let_go(
    inhabited: Workspace, linked: CloudAccount, owner: User
) -> None:
    for given, code in (
        ({}, "workspaces_live_there"),
        ({"abandon": True, "confirm_name": "no"}, "confirmation_needed"),
    ):
        with pytest.raises(OrcaError) as caught:
            links.link_end(account=linked, by=owner, **given)  # type: ignore[arg-type]
        assert caught.value.code == code
    linked.refresh_from_db()
    assert linked.state == "linked"
    assert "far" in str(caught.value)


def test_what_runs_there_ends_with_the_reason(inhabited: Workspace, linked: CloudAccount, owner: User) -> None:
    script = Script.objects.create(owner=owner, name="s", claimed_name="s")
    version = ScriptVersion.objects.create(
        script=script, number=1, sha256="a" * 64, size=1, files=[], entrypoint="main.py"
    )
    run = Run.objects.create(owner=owner, workspace=inhabited, script=script, name="s", state="running")
    step = Step.objects.create(run=run, workspace=inhabited, name="s", version=version, state="running")
    links.link_end(account=linked, by=owner, abandon=True, confirm_name="Mine")
    for found_ in (inhabited, run, step):
        found_.refresh_from_db()
    assert (inhabited.state, inhabited.claimed_name, inhabited.data_kept) == ("destroyed", None, False)
    assert (run.state, step.state) == ("cancelled", "cancelled")
    assert "cloud account Mine was unlinked" in step.message
    assert inhabited.instances.get().state == "terminated"
    with pytest.raises(Conflict) as caught:
        services.workspace_apply(workspace=inhabited, by=owner)
    assert caught.value.code == "account_unlinked"


@pytest.mark.parametrize("state", ["queued", "planning", "planned", "applying"])
def test_terraform_under_way_there_ends_too(linked: CloudAccount, owner: User, state: str) -> None:
    workspace = services.workspace_create(owner=owner, name="far", cloud_account=linked)
    run = TerraformRun.objects.get(pk=workspace.active_run_id)
    TerraformRun.objects.filter(pk=run.pk).update(state=state)
    if state == "applying":
        Workspace.objects.filter(pk=workspace.pk).update(state="applying")
    links.link_end(account=linked, by=owner, abandon=True, confirm_name="Mine")
    workspace.refresh_from_db()
    run.refresh_from_db()
    assert (run.state, run.error_code) == ("cancelled", "account_unlinked")
    assert run.cancel_requested_at is not None
    assert (workspace.state, workspace.active_run) == ("destroyed", None)
    assert not terraform_runs.terraform_run_end(run=run, state="succeeded")
