"""What people do with workspaces. Terraform's part of it is in ``terraform_runs``, the instances' in ``instances``."""

from __future__ import annotations

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from portal.accounts.models import User
from portal.accounts.quotas import Quota, quota_of
from portal.clouds.models import CloudAccount
from portal.clouds.selectors import account_for_new_workspace
from portal.core.audit import audit
from portal.core.background import enqueue_on_commit
from portal.core.errors import Conflict, Invalid, LimitReached
from portal.core.states import moved
from portal.gateways import aws_compute, aws_platform
from portal.workspaces.control import signing_key
from portal.workspaces.events import instances_wanted
from portal.workspaces.models import Instance, TerraformRun, Workspace
from portal.workspaces.selectors import workspaces_of
from portal.workspaces.terraform_runs import POWER, announce, terraform_run_request

State = Workspace.State
_SETTLED_SOON = (State.APPLYING, State.READY, State.DEGRADED)


def workspace_create(
    *,
    owner: User,
    name: str,
    instance_type: str = "",
    volume_gb: int = 20,
    review: bool = False,
    cloud_account: CloudAccount | None = None,
) -> Workspace:
    """Ask for a new workspace: Terraform plans and builds it, or with ``review`` plans it and waits for a yes.

    Raises ``Invalid``, ``Conflict`` (name taken, not approved) or ``LimitReached``.
    """
    name = " ".join(name.split())
    instance_type = instance_type or settings.DEFAULT_INSTANCE_TYPE
    _inputs_check(name, instance_type, volume_gb)
    if not owner.is_approved:
        raise Conflict(
            "Your account waits for approval by an operator.",
            code="not_approved",
            hint="You get an e-mail as soon as it is approved.",
        )
    quota = quota_of(owner)
    _quota_check(quota, instance_type, volume_gb)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=owner.pk)
        if workspaces_of(owner).count() >= quota.workspaces:
            raise LimitReached(
                f"You may have {quota.workspaces} workspaces at a time.",
                code="too_many_workspaces",
                hint="Delete one that you no longer need, with its data.",
            )
        try:
            with transaction.atomic():
                workspace = Workspace.objects.create(
                    owner=owner,
                    name=name,
                    claimed_name=name,
                    cloud_account=cloud_account or account_for_new_workspace(),
                    instance_type=instance_type,
                    volume_gb=volume_gb,
                    slots=settings.SLOTS_PER_INSTANCE,
                )
        except IntegrityError as error:
            raise Conflict(
                f"You already have a workspace called {name}.",
                code="name_taken",
                fields={"name": "already taken"},
            ) from error
        instances_wanted.send(sender=Workspace, workspace=workspace)
        terraform_run_request(workspace=workspace, operation=TerraformRun.Operation.APPLY, by=owner, review=review)
    return workspace


def _inputs_check(name: str, instance_type: str, volume_gb: int) -> None:
    fields = {}
    if not 1 <= len(name) <= 60 or not name.isprintable():
        fields["name"] = "Give a name of 1 to 60 characters."
    if instance_type not in Workspace.Size.values:
        fields["instance_type"] = "Choose one of: " + ", ".join(Workspace.Size.values) + "."
    if not 8 <= volume_gb <= 1000:
        fields["volume_gb"] = "Between 8 and 1000 GB."
    if fields:
        raise Invalid("The workspace cannot be made like this.", fields=fields)


def _quota_check(quota: Quota, instance_type: str, volume_gb: int) -> None:
    fields = {}
    if not quota.allows(instance_type):
        fields["instance_type"] = "You may have: " + ", ".join(quota.sizes) + "."
    if volume_gb > quota.volume_gb:
        fields["volume_gb"] = f"You may have at most {quota.volume_gb} GB."
    if fields:
        hint = "Trial accounts have less; ask an operator to lift that."
        raise Invalid("This is more than you may have.", code="over_quota", hint=hint, fields=fields)


def workspace_apply(*, workspace: Workspace, by: User | None, review: bool = False) -> TerraformRun:
    """Bring the environment to what Orca's modules say: builds what is missing, mends what has drifted."""
    instances_wanted.send(sender=Workspace, workspace=workspace)
    return terraform_run_request(workspace=workspace, operation=TerraformRun.Operation.APPLY, by=by, review=review)


def workspace_destroy(
    *, workspace: Workspace, by: User | None, delete_data: bool = False, confirm_name: str = ""
) -> TerraformRun:
    """Take the environment down. Its bucket stays, unless ``delete_data`` says otherwise and ``confirm_name`` repeats
    the workspace's name."""
    if delete_data and confirm_name.strip() != workspace.name:
        raise Invalid(
            f"Deleting all data of {workspace.name} cannot be undone.",
            code="confirmation_needed",
            hint=f"Type the workspace's name, {workspace.name}, to confirm.",
            fields={"confirm_name": "does not match the workspace's name"},
        )
    if workspace.state == State.DESTROYED and not (delete_data and workspace.data_kept):
        raise Conflict("This workspace is already gone.", code="already_destroyed")
    operation = TerraformRun.Operation.DESTROY_DATA if delete_data else TerraformRun.Operation.DESTROY
    return terraform_run_request(workspace=workspace, operation=operation, by=by)


def workspace_stop(*, workspace: Workspace, by: User | None = None, reason: str = "") -> None:
    """Stop the instances; disks and data stay. What was running goes on when they are started again.

    While Terraform builds, this is noted, and done as soon as that has ended. ``reason`` is shown for as long as they
    are stopped.
    """
    if _stop_put_off(workspace):
        audit("workspace.stop", workspace, by=by, put_off=True)
        announce(workspace)
        return
    _idle_check(workspace, "stop")
    why = reason[:500]
    if not moved(workspace, Workspace.TRANSITIONS, State.STOPPING, state_changed_at=timezone.now(), state_reason=why):
        raise Conflict(f"A workspace that is {workspace.state} cannot be stopped.", code="wrong_state")
    audit("workspace.stop", workspace, by=by, reason=reason)
    _power(workspace)


def workspace_start(*, workspace: Workspace, by: User | None = None) -> None:
    """Start the stopped instances again, or take back a stop that is still put off."""
    if Workspace.objects.filter(pk=workspace.pk).exclude(stop_requested_at=None).update(stop_requested_at=None):
        workspace.stop_requested_at = None
        audit("workspace.start", workspace, by=by)
        announce(workspace)
        return
    _idle_check(workspace, "start")
    instances_wanted.send(sender=Workspace, workspace=workspace)
    fields = {"state_changed_at": timezone.now(), "state_reason": "Starting the instance", "ready_at": None}
    if not moved(workspace, Workspace.TRANSITIONS, State.APPLYING, among=[State.STOPPED], **fields):
        raise Conflict(f"A workspace that is {workspace.state} cannot be started.", code="wrong_state")
    audit("workspace.start", workspace, by=by)
    workspace.instances.filter(state=Instance.State.STOPPED).update(state=Instance.State.PENDING)
    _power(workspace)


def _stop_put_off(workspace: Workspace) -> bool:
    """Whether Terraform is building and will stop the workspace when it has ended; not, if it has just ended."""
    workspace.refresh_from_db(fields=["state", "active_run", "stop_requested_at"])
    run = workspace.active_run
    if run is None or not run.settles:
        return False
    rows = Workspace.objects.filter(pk=workspace.pk, active_run=run, state__in=_SETTLED_SOON)
    now = timezone.now()
    if rows.update(stop_requested_at=now):
        workspace.stop_requested_at = now
        return True
    workspace.refresh_from_db(fields=["state", "active_run"])
    return False


def _power(workspace: Workspace) -> None:
    announce(workspace)
    enqueue_on_commit(POWER, workspace.pk)


def _idle_check(workspace: Workspace, doing: str) -> None:
    run = TerraformRun.objects.filter(pk=workspace.active_run_id).first() if workspace.active_run_id else None
    if run is not None:
        raise Conflict(
            f"Terraform is at work on this workspace ({run}), so it cannot {doing} now.",
            code="workspace_locked",
            hint="Wait for it to end, or cancel it.",
        )


def credentials_lend(*, workspace: Workspace, by: User) -> aws_compute.LentCredentials:
    """Temporary AWS credentials for the workspace's owner: their own bucket and nothing else."""
    if workspace.ready_at is None or workspace.state in {State.DESTROYING, State.DESTROYED}:
        raise Conflict(
            "The workspace has no credentials to lend now.",
            code="not_built",
            hint="They are there as soon as it is ready.",
        )
    audit("workspace.credentials", workspace, by=by)
    return aws_compute.lend(workspace.user_role_arn, user_external_id(workspace), f"orca-{by.pk}")


def user_external_id(workspace: Workspace) -> str:
    """What the trust policy of a workspace's user role demands: Orca alone can say it."""
    return signing_key(workspace).hex()[:32]


def user_principal_arn() -> str:
    """Who may assume the user roles of workspaces: Orca's own account."""
    return f"arn:aws:iam::{aws_platform.own_account_id()}:root"
