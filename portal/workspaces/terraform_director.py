"""Carries a Terraform run out, in this order: claim, make sure that nobody else holds the state, plan, (wait for
a yes,) apply exactly that plan, record the outputs.

It must not leave the workspace locked, apply anything but the plan that was shown, break another process's lock, or
delete a bucket that it was not told to delete.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import close_old_connections, connection
from django.db.models import F
from django.utils import timezone

from portal.clouds.links import is_refused, link_refused
from portal.clouds.services import account_handle, boundary_arn
from portal.core.errors import CloudFault, OrcaError
from portal.core.states import moved
from portal.gateways import aws_platform, aws_queue, aws_storage
from portal.gateways.terraform import (
    PlanResult,
    TerraformCancelled,
    TerraformEvent,
    TerraformLocked,
    TerraformSettings,
    TerraformWorkspace,
)
from portal.workspaces import services
from portal.workspaces.control import control_changed, signing_key
from portal.workspaces.models import Instance, TerraformLine, TerraformRun, Workspace
from portal.workspaces.secrets import secrets_delete_all
from portal.workspaces.terraform_runs import announce, terraform_run_end

logger = logging.getLogger(__name__)
_State = TerraformRun.State
_Operation = TerraformRun.Operation
BEAT = 0.5
SIGN_OF_LIFE = 5.0
LOCK_PATIENCE = 90.0


def terraform_run_execute(*, run_id: str) -> str:
    """Take up a queued run and carry it to its end; the state that it is left in. Leaves quietly if another has it."""
    worker = f"{socket.gethostname()}:{os.getpid()}"
    run = TerraformRun.objects.select_related("workspace__cloud_account", "workspace__owner").filter(pk=run_id).first()
    if run is None:
        return "gone"
    approved = run.approved_at is not None and bool(run.kept_plan)
    now = timezone.now()
    claimed = moved(
        run,
        TerraformRun.TRANSITIONS,
        _State.APPLYING if approved else _State.PLANNING,
        among=[_State.QUEUED],
        worker=worker,
        heartbeat_at=now,
        started_at=run.started_at or now,
        attempts=run.attempts + 1,
    )
    if not claimed:
        return run.state
    announce(run.workspace)
    with _Journal(run) as journal:
        try:
            _Director(run, journal).carry_out(approved=approved)
        except TerraformCancelled:
            journal.flush()
            terraform_run_end(run=run, state=_State.CANCELLED)
        except OrcaError as error:
            journal.flush()
            terraform_run_end(run=run, state=_State.FAILED, error=_explained(run, error))
        except Exception as error:
            logger.exception("Terraform run %s", run.pk)
            journal.flush()
            fault = OrcaError(
                "Something went wrong inside Orca.",
                code="internal",
                hint="An operator finds the details in the worker's log. Apply again when it is mended.",
            )
            terraform_run_end(run=run, state=_State.FAILED, error=fault)
            if not isinstance(error, RuntimeError | ValueError | OSError):
                raise
    return run.state


# What a role that was taken back looks like: Terraform and boto3 each have their words for it.
_REFUSALS = {
    "terraform_role_refused",
    "terraform_bad_credentials",
    "terraform_denied",
    "cloud_denied",
    "cloud_credentials",
}


def _explained(run: TerraformRun, error: OrcaError) -> OrcaError:
    """The error, or the reason behind it: Orca may no longer assume the role of the cloud account."""
    account = run.workspace.cloud_account
    account.refresh_from_db()
    if error.code not in _REFUSALS or not is_refused(account):
        return error
    message = f"Orca may no longer assume the role {account.role_arn} of the cloud account {account.name}."
    link_refused(account_id=account.pk, why=message)
    return OrcaError(
        message,
        code="role_revoked",
        hint="The owner of the account mends the role: the account's page in Orca says what is wrong. Then apply again;"
        " what was finished is kept.",
    )


class _Journal:
    """Writes what Terraform says to the database, keeps the run's sign of life fresh, and watches for a cancel.

    All of it in one thread of its own, so that Terraform's output never waits for the database.
    """

    def __init__(self, run: TerraformRun) -> None:
        self.run = run
        self.cancelled = threading.Event()
        self._waiting: list[TerraformEvent] = []
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._number = run.lines.count()
        self._thread = threading.Thread(target=self._keep, name=f"journal-{run.pk}", daemon=True)

    def __enter__(self) -> _Journal:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=30)
        self.flush()

    def hear(self, event: TerraformEvent) -> None:
        with self._lock:
            self._waiting.append(event)

    def say(self, text: str) -> None:
        """A line of Orca's own."""
        self.hear(TerraformEvent(timezone.now(), "info", "orca", text, None, None))

    def flush(self) -> None:
        with self._writing:
            with self._lock:
                events, self._waiting = self._waiting, []
            if not events:
                return
            TerraformLine.objects.bulk_create(
                TerraformLine(
                    run=self.run,
                    number=self._number + index,
                    at=event.at,
                    level=event.level[:8],
                    kind=event.kind[:32],
                    address=(event.address or "")[:200],
                    text=event.message,
                )
                for index, event in enumerate(events, 1)
            )
            self._number += len(events)
            done = sum(event.kind == "apply_complete" for event in events)
            if done:
                TerraformRun.objects.filter(pk=self.run.pk).update(resources_done=F("resources_done") + done)
            announce(self.run.workspace)

    def _keep(self) -> None:
        last = 0.0
        try:
            while not self._ended.wait(BEAT):
                try:
                    self.flush()
                    if time.monotonic() - last >= SIGN_OF_LIFE:
                        TerraformRun.objects.filter(pk=self.run.pk).update(heartbeat_at=timezone.now())
                        last = time.monotonic()
                    if TerraformRun.objects.filter(pk=self.run.pk, cancel_requested_at__isnull=False).exists():
                        self.cancelled.set()
                except Exception:
                    logger.exception("journal of Terraform run %s", self.run.pk)
                    close_old_connections()
        finally:
            connection.close()


class _Director:
    def __init__(self, run: TerraformRun, journal: _Journal) -> None:
        self.run = run
        self.workspace: Workspace = run.workspace
        self.journal = journal
        self.account = account_handle(self.workspace.cloud_account)
        self.terraform = TerraformWorkspace(
            terraform_settings(), self.workspace.pk, on_event=journal.hear, cancelled=journal.cancelled
        )
        self.plan_file = settings.TERRAFORM_DATA / self.workspace.pk / f"{run.pk}.tfplan"
        self.plan_file.parent.mkdir(parents=True, exist_ok=True)

    def carry_out(self, *, approved: bool) -> None:
        try:
            self.terraform.init()
            self._lock_settle()
            if approved:
                aws_storage.plan_fetch(aws_platform.state_bucket(), self.run.kept_plan, self.plan_file)
            else:
                plan = self._plan()
                if self.run.review and self.run.approved_at is None:
                    self._wait_for_yes()
                    return
                if not self._apply_enter(plan):
                    return
            self._apply()
        finally:
            with suppress(OSError):
                self.plan_file.unlink(missing_ok=True)

    def _lock_settle(self) -> None:
        """Wait for a dying predecessor to give Terraform's lock back; break it only when that one is known to be dead.

        Orca's own lock says that no other run of ours works on this state. What is left is the Terraform process of a
        worker that died: it was told to stop when its parent went, and ends by itself, unless it was killed too.
        """
        deadline = time.monotonic() + LOCK_PATIENCE
        while (holder := self.terraform.lock_holder()) is not None:
            waited_out = time.monotonic() > deadline
            here = holder.who.endswith(f"@{socket.gethostname()}")
            dead = not self.terraform.process_alive() if here else waited_out and self.run.attempts > 1
            if dead:
                self.journal.say(f"Breaking the lock that {holder.who} left behind when it was killed.")
                self.terraform.unlock(holder.lock_id)
                return
            if waited_out:
                raise TerraformLocked(holder)
            self.journal.say(f"Waiting for {holder.who} to give Terraform's lock back.")
            if self.journal.cancelled.wait(2):
                raise TerraformCancelled

    def _plan(self) -> PlanResult:
        operation, wipe = self.run.operation, self.run.operation == _Operation.DESTROY_DATA
        plan = self.terraform.plan(terraform_variables(self.workspace, operation), out=self.plan_file, destroy=wipe)
        changes = [{"address": c.address, "type": c.type, "action": c.action} for c in plan.changes]
        self._record(
            changes=changes,
            to_add=plan.add,
            to_change=plan.change,
            to_destroy=plan.destroy,
            planned_at=timezone.now(),
            resources_done=0,
        )
        return plan

    def _record(self, **fields: Any) -> None:
        TerraformRun.objects.filter(pk=self.run.pk).update(**fields)
        for name, value in fields.items():
            setattr(self.run, name, value)
        announce(self.workspace)

    def _wait_for_yes(self) -> None:
        key = f"plans/{self.run.pk}.tfplan"
        aws_storage.plan_keep(aws_platform.state_bucket(), key, self.plan_file)
        self.journal.flush()
        moved(self.run, TerraformRun.TRANSITIONS, _State.PLANNED, kept_plan=key)
        announce(self.workspace)

    def _apply_enter(self, plan: PlanResult) -> bool:
        if not plan.has_changes and self.run.operation == _Operation.APPLY:
            self.journal.say("Nothing has to change.")
        if not moved(self.run, TerraformRun.TRANSITIONS, _State.APPLYING, apply_started_at=timezone.now()):
            return False
        fields = {"state_changed_at": timezone.now()}
        moved(self.workspace, Workspace.TRANSITIONS, Workspace.State.APPLYING, among=["planning"], **fields)
        announce(self.workspace)
        return True

    def _apply(self) -> None:
        if self.run.apply_started_at is None:
            self._record(apply_started_at=timezone.now())
            moved(self.workspace, Workspace.TRANSITIONS, Workspace.State.APPLYING, among=["planning"])
        if self.run.operation == _Operation.DESTROY_DATA:
            gone = aws_storage.bucket_empty(self.account, self.workspace.bucket)
            self.journal.say(f"Deleted {gone} objects from the workspace's bucket.")
        self.terraform.apply(self.plan_file)
        outputs = self.terraform.outputs() if self.run.operation != _Operation.DESTROY_DATA else {}
        self.journal.flush()
        if self.run.operation == _Operation.APPLY:
            self._built(outputs)
        else:
            if gone := secrets_delete_all(workspace=self.workspace):
                self.journal.say(f"Deleted {gone} of the workspace's secrets.")
                self.journal.flush()
            aws_queue.forget(self.account, self.workspace.tasks_queue)
            aws_queue.forget(self.account, self.workspace.dead_queue)
        if self.run.kept_plan:
            with suppress(CloudFault):
                aws_storage.plan_drop(aws_platform.state_bucket(), self.run.kept_plan)
        terraform_run_end(run=self.run, state=_State.SUCCEEDED)

    def _built(self, outputs: dict[str, Any]) -> None:
        held = Workspace.objects.filter(pk=self.workspace.pk, active_run=self.run)
        if not held.update(outputs=outputs, data_kept=True):
            return  # let go meanwhile: its cloud account was unlinked
        known = [str(i) for i in outputs.get("instance_ids", [])]
        for instance_id in known:
            Instance.objects.get_or_create(workspace=self.workspace, instance_id=instance_id)
        self.workspace.instances.exclude(instance_id__in=known).update(state=Instance.State.TERMINATED)
        control_changed([self.workspace.pk])


def terraform_settings() -> TerraformSettings:
    """How this installation runs Terraform."""
    return TerraformSettings(
        binary=settings.TERRAFORM_BINARY,
        cli_config=settings.TERRAFORM_CLI_CONFIG,
        root=Path(settings.TERRAFORM_ROOT) / "workspace",
        data_root=settings.TERRAFORM_DATA,
        state_bucket=aws_platform.state_bucket(),
        region=settings.AWS_REGION,
        environment=dict(os.environ),
        path_style=settings.S3_PATH_STYLE,
    )


def terraform_variables(workspace: Workspace, operation: str) -> dict[str, object]:
    """What the root module is told about a workspace."""
    account = workspace.cloud_account
    agent = aws_platform.agent_current()
    return {
        "workspace_id": workspace.pk,
        "region": account.region,
        "s3_use_path_style": settings.S3_PATH_STYLE,
        "provisioner_role_arn": account.role_arn,
        "provisioner_external_id": account.external_id,
        "permissions_boundary_arn": boundary_arn(account),
        "user_principal_arn": services.user_principal_arn(),
        "user_external_id": services.user_external_id(workspace),
        "instance_type": workspace.instance_type,
        "instance_count": workspace.instance_count + workspace.node_count,
        "volume_gb": workspace.volume_gb,
        "image_id": settings.IMAGE_ID,
        "slots": workspace.slots,
        "registry": settings.IMAGE_REGISTRY and account.has_registry,
        "request_metrics": settings.REQUEST_METRICS,
        "agent": {"bucket": agent.bucket, "key": agent.key, "sha256": agent.sha256},
        "events_queue_url": aws_platform.events_queue_url(),
        "events_queue_arn": aws_platform.events_queue_arn(settings.AWS_REGION),
        "signing_key": signing_key(workspace).hex(),
        "ssh_cidrs": settings.SSH_CIDRS,
        "data_only": operation == _Operation.DESTROY,
    }
