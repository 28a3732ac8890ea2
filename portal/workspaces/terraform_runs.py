"""The life of a Terraform run: asked for, approved, cancelled, ended. Doing it is the director's part.

A workspace's ``active_run`` is its lock: it names the run that holds it, one conditional UPDATE takes it, and ending
the run gives it back.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.core.audit import audit
from portal.core.background import enqueue, enqueue_on_commit
from portal.core.errors import Conflict, OrcaError
from portal.core.live import publish_on_commit
from portal.core.states import move, moved
from portal.workspaces.events import instances_wanted, workspace_gone
from portal.workspaces.models import Instance, TerraformRun, Workspace

EXECUTE = "portal.workspaces.tasks.terraform_run_execute"
POWER = "portal.workspaces.tasks.workspace_power"
MOST_ATTEMPTS = 3
_REQUEUE_AFTER = timedelta(seconds=60)
_State = TerraformRun.State
_Operation = TerraformRun.Operation


def terraform_run_request(
    *, workspace: Workspace, operation: str, by: User | None, review: bool = False
) -> TerraformRun:
    """Take the workspace's lock and queue a run. Raises ``Conflict``, naming the holder, when it is taken."""
    if workspace.cloud_account.state == CloudAccount.State.UNLINKED:
        raise Conflict(
            f"The cloud account {workspace.cloud_account.name} was unlinked; Orca cannot do anything there any more.",
            code="account_unlinked",
        )
    with transaction.atomic():
        run = TerraformRun.objects.create(
            workspace=workspace,
            operation=operation,
            requested_by=by,
            review=review,
            heartbeat_at=timezone.now(),
        )
        taken = Workspace.objects.filter(pk=workspace.pk, active_run=None).update(active_run=run)
        if not taken:
            raise _locked(workspace)
        workspace.active_run = run
        audit(f"workspace.{operation}", workspace, by=by, terraform_run=run.pk, review=review)
        if operation != _Operation.APPLY:
            _state_enter(workspace, Workspace.State.DESTROYING, "")
        elif workspace.state in {
            Workspace.State.FAILED,
            Workspace.State.DESTROYED,
            Workspace.State.REQUESTED,
        }:
            _state_enter(workspace, Workspace.State.PLANNING, "")
        announce(workspace)
        enqueue_on_commit(EXECUTE, run.pk)
    return run


def terraform_run_again(*, run: TerraformRun, by: User | None) -> TerraformRun:
    """Ask for the same once more. What destroys is repeated only while nothing else was done since, and it did not
    get through: the workspace may have been built anew."""
    later = run.workspace.terraform_runs.filter(created_at__gt=run.created_at).exists()
    if run.operation != _Operation.APPLY and (later or run.state == _State.SUCCEEDED):
        raise Conflict(
            f"{run.workspace} is not destroyed again by what was asked for earlier.",
            code="outdated_run",
            hint="Destroy it anew, from the list of workspaces.",
        )
    if run.operation == _Operation.APPLY:
        instances_wanted.send(sender=Workspace, workspace=run.workspace)
    return terraform_run_request(workspace=run.workspace, operation=run.operation, by=by)


def _locked(workspace: Workspace) -> Conflict:
    holder_id = Workspace.objects.values_list("active_run_id", flat=True).get(pk=workspace.pk)
    holder = TerraformRun.objects.select_related("requested_by").filter(pk=holder_id).first()
    if holder is None:
        return Conflict("Terraform has just finished with this workspace; try again.", code="workspace_locked")
    who = holder.requested_by.email if holder.requested_by else "Orca"
    return Conflict(
        f"Terraform is at work on this workspace: {holder.get_operation_display().lower()},"
        f" asked for by {who} at {holder.created_at:%H:%M} UTC, is {holder.get_state_display().lower()}.",
        code="workspace_locked",
        hint="Wait for it to end, or cancel it.",
    )


def _state_enter(workspace: Workspace, state: str, reason: str) -> bool:
    return moved(
        workspace,
        Workspace.TRANSITIONS,
        state,
        state_reason=reason[:500],
        state_changed_at=timezone.now(),
    )


def announce(workspace: Workspace) -> None:
    """Tell open pages that something about a workspace has changed."""
    publish_on_commit(f"workspace:{workspace.pk}", f"owner:{workspace.owner_id}")


def terraform_run_approve(*, run: TerraformRun, by: User | None) -> None:
    """Say yes to a plan: exactly that plan is applied."""
    now = timezone.now()
    if not moved(
        run,
        TerraformRun.TRANSITIONS,
        _State.QUEUED,
        among=[_State.PLANNED],
        approved_at=now,
        heartbeat_at=now,
    ):
        raise Conflict("There is no plan waiting for approval here.", code="nothing_to_approve")
    audit("terraform_run.approve", run, by=by)
    announce(run.workspace)
    enqueue_on_commit(EXECUTE, run.pk)


def terraform_run_cancel(*, run: TerraformRun, by: User | None) -> None:
    """Stop a run: at once where it waits, else as soon as Terraform has ended what it is in the middle of."""
    now = timezone.now()
    with transaction.atomic():
        audit("terraform_run.cancel", run, by=by)
        waiting = [_State.QUEUED, _State.PLANNED]
        fields = {"finished_at": now, "cancel_requested_at": now}
        if moved(run, TerraformRun.TRANSITIONS, _State.CANCELLED, among=waiting, **fields):
            _after_end(run, error=None)
            return
        asked = TerraformRun.objects.filter(pk=run.pk, state__in=TerraformRun.WORKING, cancel_requested_at=None)
        if not asked.update(cancel_requested_at=now):
            raise Conflict("This run has already ended, or is being cancelled.", code="nothing_to_cancel")
        announce(run.workspace)


def terraform_run_end(*, run: TerraformRun, state: str, error: OrcaError | None = None, **fields: Any) -> bool:
    """Record how a run ended, give the lock back, and bring the workspace to the state that follows."""
    if error is not None:
        fields |= {"error_code": error.code, "error_message": error.message, "error_hint": error.hint}
    with transaction.atomic():
        if not moved(run, TerraformRun.TRANSITIONS, state, finished_at=timezone.now(), **fields):
            return False
        _after_end(run, error=error)
    return True


def _after_end(run: TerraformRun, *, error: OrcaError | None) -> None:
    with transaction.atomic():
        Workspace.objects.filter(pk=run.workspace_id, active_run=run).update(active_run=None)
        workspace = Workspace.objects.select_related("owner").get(pk=run.workspace_id)
        if run.state == _State.SUCCEEDED:
            _after_success(run, workspace)
        else:
            _after_failure(run, workspace, error)
        _stop_if_asked(workspace)
        run.workspace = workspace
        announce(workspace)


def _after_success(run: TerraformRun, workspace: Workspace) -> None:
    if run.operation == _Operation.APPLY:
        if workspace.state == Workspace.State.PLANNING:  # nothing had to change
            _state_enter(workspace, Workspace.State.APPLYING, "")
        if workspace.state == Workspace.State.APPLYING:
            reporting = workspace.instances.filter(state=Instance.State.RUNNING).exists()
            reason = "" if reporting else "Waiting for the instance's first report"
            _state_enter(workspace, Workspace.State.READY if reporting else Workspace.State.APPLYING, reason) or (
                Workspace.objects.filter(pk=workspace.pk).update(state_reason=reason)
            )
        return
    keeps_data = run.operation == _Operation.DESTROY
    _state_enter(workspace, Workspace.State.DESTROYED, "")
    Workspace.objects.filter(pk=workspace.pk).update(
        data_kept=keeps_data,
        outputs={},
        node_count=0,
        nodes_leaving=[],
        ready_at=None,
        claimed_name=workspace.name if keeps_data else None,
    )
    workspace.instances.update(state=Instance.State.TERMINATED, running=[])
    workspace_gone.send(Workspace, workspace=workspace)


def _after_failure(run: TerraformRun, workspace: Workspace, error: OrcaError | None) -> None:
    reason = error.message if error else "The run was cancelled."
    alive = workspace.instances.filter(state__in=[Instance.State.RUNNING, Instance.State.UNREACHABLE]).exists()
    if workspace.state in {Workspace.State.READY, Workspace.State.DEGRADED, Workspace.State.STOPPED}:
        if run.state == _State.FAILED:
            Workspace.objects.filter(pk=workspace.pk).update(state_reason=f"Last update failed: {reason}"[:500])
        return
    _state_enter(workspace, Workspace.State.DEGRADED if alive else Workspace.State.FAILED, reason)


def _stop_if_asked(workspace: Workspace) -> None:
    """Do what was put off while Terraform was at work, in the transaction that gives the lock back."""
    if workspace.stop_requested_at is None:
        return
    Workspace.objects.filter(pk=workspace.pk).update(stop_requested_at=None)
    workspace.stop_requested_at = None
    if _state_enter(workspace, Workspace.State.STOPPING, ""):
        enqueue_on_commit(POWER, workspace.pk)


def terraform_runs_sweep() -> int:
    """Find runs that nobody works on any more, and have them taken up again or ended; how many were touched.

    A working run whose process has been silent for ``ORCA_TERRAFORM_SILENCE`` seconds is dead: its successor waits for
    Terraform's own lock, re-plans and finishes it. After three such deaths it fails with what to do.
    """
    now, touched = timezone.now(), 0
    silent = now - timedelta(seconds=settings.TERRAFORM_SILENCE)
    dead = Q(heartbeat_at__lt=silent) | Q(heartbeat_at=None)
    for run in TerraformRun.objects.filter(dead, state__in=TerraformRun.WORKING).select_related("workspace"):
        touched += terraform_run_take_back(run=run)
    forgotten = TerraformRun.objects.filter(state=_State.QUEUED, heartbeat_at__lt=now - _REQUEUE_AFTER)
    for run in forgotten:
        if TerraformRun.objects.filter(pk=run.pk, heartbeat_at=run.heartbeat_at).update(heartbeat_at=now):
            enqueue(EXECUTE, run.pk)
            touched += 1
    return touched


def terraform_run_take_back(*, run: TerraformRun) -> bool:
    """Have a run whose worker is dead taken up again, or end it when that was tried often enough; whether it was."""
    if run.attempts >= MOST_ATTEMPTS or run.cancel_requested_at:
        interrupted = OrcaError(
            "Terraform was interrupted again and again.",
            code="interrupted",
            hint="Nothing is lost: apply again to finish, or destroy what was built so far.",
        )
        cancelled = run.cancel_requested_at is not None
        return terraform_run_end(
            run=run,
            state=_State.CANCELLED if cancelled else _State.FAILED,
            error=None if cancelled else interrupted,
        )
    rows = TerraformRun.objects.filter(pk=run.pk, heartbeat_at=run.heartbeat_at)
    if not move(rows, TerraformRun.TRANSITIONS, _State.QUEUED, heartbeat_at=timezone.now(), worker="", kept_plan=""):
        return False
    announce(run.workspace)
    enqueue(EXECUTE, run.pk)
    return True
