"""What becomes of workspaces whose cloud account is unlinked while they live in it.

Orca lets go of them: whatever is open in them ends, with that as its reason, and nothing in the account is touched but
that instances are stopped, as far as the role still lets Orca do that. It belongs to the account's owner.
"""

from __future__ import annotations

import logging

from django.utils import timezone

from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.clouds.services import account_handle
from portal.core.audit import audit
from portal.core.background import enqueue_on_commit
from portal.core.errors import CloudFault, OrcaError
from portal.core.states import moved
from portal.gateways import aws_compute
from portal.workspaces.events import workspace_gone
from portal.workspaces.models import Instance, Secret, TerraformRun, Workspace
from portal.workspaces.terraform_runs import announce, terraform_run_end

logger = logging.getLogger(__name__)
LEAVE = "portal.workspaces.tasks.instances_leave"
State = Workspace.State


def workspaces_let_go(*, account: CloudAccount, by: User | None) -> int:
    """End everything of Orca's in the account; how many workspaces were let go. In the caller's transaction."""
    living = list(Workspace.objects.filter(cloud_account=account, claimed_name__isnull=False))
    for workspace in living:
        workspace.cloud_account = account
        _let_go(workspace, by=by)
    return len(living)


def _let_go(workspace: Workspace, *, by: User | None) -> None:
    why = f"Its cloud account {workspace.cloud_account.name} was unlinked. What Orca had built stays there."
    run = TerraformRun.objects.filter(pk=workspace.active_run_id).first() if workspace.active_run_id else None
    if run is not None:
        # Terraform sees that it is to stop and does; what it says then comes too late to change anything.
        error = OrcaError("The cloud account was unlinked while this ran.", code="account_unlinked")
        terraform_run_end(run=run, state=TerraformRun.State.CANCELLED, error=error, cancel_requested_at=timezone.now())
        workspace.refresh_from_db(fields=["state", "active_run"])
    for state in (State.DESTROYING, State.DESTROYED):
        moved(workspace, Workspace.TRANSITIONS, state, state_reason=why[:500], state_changed_at=timezone.now())
    Workspace.objects.filter(pk=workspace.pk).update(
        state_reason=why[:500],
        claimed_name=None,
        data_kept=False,
        outputs={},
        ready_at=None,
        stop_requested_at=None,
    )
    workspace.refresh_from_db(fields=["state", "state_reason", "claimed_name", "data_kept"])
    audit("workspace.let_go", workspace, by=by)
    Secret.objects.filter(workspace=workspace).delete()
    workspace.instances.update(state=Instance.State.TERMINATED, running=[])
    workspace_gone.send(Workspace, workspace=workspace)
    announce(workspace)
    enqueue_on_commit(LEAVE, workspace.pk)


def instances_leave(*, workspace_id: str) -> int:
    """Stop the instances of a workspace that was let go; how many. Where the role refuses, its owner does that."""
    workspace = Workspace.objects.select_related("cloud_account").get(pk=workspace_id)
    account = account_handle(workspace.cloud_account)
    try:
        machines = aws_compute.machines(account, workspace.pk)
        up = [machine.instance_id for machine in machines if machine.state in {"running", "pending"}]
        if up:
            aws_compute.stop(account, up)
    except CloudFault as error:
        logger.warning("instances of %s were left running: %s", workspace_id, error.message)
        return 0
    return len(up)
