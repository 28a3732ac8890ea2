"""What instances report and what EC2 says about them, brought together into the state of the workspace."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from agents.orca_agent import protocol
from portal.clouds.services import account_handle
from portal.core.errors import CloudFault
from portal.core.live import publish_on_commit
from portal.core.states import moved
from portal.gateways import aws_compute
from portal.workspaces.events import workspace_ready
from portal.workspaces.models import Instance, TerraformRun, Workspace
from portal.workspaces.terraform_runs import announce

logger = logging.getLogger(__name__)
_State = Workspace.State
_UP = [Instance.State.PENDING, Instance.State.RUNNING, Instance.State.UNREACHABLE]


def instance_registered(*, workspace: Workspace, instance_id: str, event: protocol.InstanceRegistered) -> None:
    """An agent has started on an instance: note who it is, and that the workspace is ready."""
    at = instant(event.at)
    instance, _ = Instance.objects.get_or_create(workspace=workspace, instance_id=instance_id)
    if instance.registered_at and instance.registered_at > at:
        return
    Instance.objects.filter(pk=instance.pk).update(
        boot_id=event.boot_id,
        state=Instance.State.RUNNING,
        instance_type=event.instance_type,
        public_ip=event.public_ip,
        private_ip=event.private_ip,
        agent_version=event.agent_version,
        slots=event.slots,
        cpus=event.cpus,
        memory_mb=event.memory_mb,
        ssh_host_keys=list(event.ssh_host_keys),
        registered_at=at,
        heartbeat_at=at,
        running=[],
    )
    _reporting(workspace)


def instance_heartbeat(*, workspace: Workspace, instance_id: str, event: protocol.InstanceHeartbeat) -> None:
    """An agent says that it is alive and what it works on. One that was overtaken by a newer one changes nothing."""
    at = instant(event.at)
    known = Instance.objects.filter(workspace=workspace, instance_id=instance_id)
    newer = known.filter(Q(heartbeat_at=None) | Q(heartbeat_at__lt=at)).exclude(
        state__in=[Instance.State.STOPPED, Instance.State.TERMINATED]
    )
    changed = newer.update(
        boot_id=event.boot_id,
        slots=event.slots,
        running=[step.step for step in event.running],
        load=event.load,
        memory_free_mb=event.memory_free_mb,
        disk_free_mb=event.disk_free_mb,
        engine=event.engine if event.engine in Instance.Engine.values else "",
        heartbeat_at=at,
    )
    if changed:
        back = known.exclude(state__in=[Instance.State.RUNNING, Instance.State.STOPPING])
        if back.update(state=Instance.State.RUNNING) or workspace.state == _State.APPLYING:
            _reporting(workspace)
        publish_on_commit(f"workspace:{workspace.pk}")


def instance_stopping(*, workspace: Workspace, instance_id: str, event: protocol.InstanceStopping) -> None:
    """An agent leaves; EC2 tells later whether the instance did too."""
    Instance.objects.filter(
        workspace=workspace,
        instance_id=instance_id,
        boot_id=event.boot_id,
        heartbeat_at__lte=instant(event.at),
    ).update(state=Instance.State.STOPPING, running=[])
    announce(workspace)


def instant(at: float) -> datetime:
    """A reported time, never in the future: a clock that runs ahead must not make an instance immortal."""
    return datetime.fromtimestamp(min(max(at, 0.0), time.time()), UTC)


def _reporting(workspace: Workspace) -> None:
    """An instance reports. The workspace is ready unless another of its instances is silent."""
    now = timezone.now()
    if workspace.instances.filter(state=Instance.State.UNREACHABLE).exists():
        return
    first = workspace.ready_at is None
    fields: dict[str, Any] = {"state_reason": "", "state_changed_at": now}
    if first:
        fields["ready_at"] = now
        fields["build_seconds"] = (now - _build_began(workspace)).total_seconds()
    allowed = [_State.APPLYING, _State.DEGRADED, _State.PLANNING, _State.FAILED]
    if workspace.state == _State.DEGRADED and not first and workspace.active_run_id:
        allowed.remove(_State.DEGRADED)
    if moved(workspace, Workspace.TRANSITIONS, _State.READY, among=allowed, **fields):
        announce(workspace)
    if workspace.state == _State.READY:
        workspace_ready.send(Workspace, workspace=workspace)


def _build_began(workspace: Workspace) -> datetime:
    run = TerraformRun.objects.filter(pk=workspace.active_run_id).first() if workspace.active_run_id else None
    if run is None:
        return workspace.state_changed_at
    return run.approved_at or run.created_at


def workspace_power(*, workspace_id: str) -> None:
    """Tell EC2 to do what the workspace's state asks for: stop while ``stopping``, start while starting."""
    workspace = Workspace.objects.select_related("cloud_account").get(pk=workspace_id)
    account = account_handle(workspace.cloud_account)
    machines = aws_compute.machines(account, workspace.pk)
    if workspace.state == _State.STOPPING:
        up = [m.instance_id for m in machines if m.state in {"running", "pending"}]
        if up:
            aws_compute.stop(account, up)
    elif workspace.state == _State.APPLYING and workspace.active_run_id is None:
        down = [m.instance_id for m in machines if m.state == "stopped"]
        if down:
            aws_compute.start(account, down)
    instances_compare(workspace=workspace)


def instances_sweep() -> int:
    """Look at every workspace in which something is due or someone is silent; how many were looked at.

    One that cannot be looked at now is looked at next time; silence is never taken for death while EC2 does not answer.
    """
    silent = timezone.now() - timedelta(seconds=settings.INSTANCE_SILENCE)
    waiting = Q(state__in=[_State.STOPPING, _State.DEGRADED]) | Q(state=_State.APPLYING, active_run=None)
    quiet = Q(state=_State.READY, instances__state__in=_UP, instances__heartbeat_at__lt=silent)
    leaving = Q(state=_State.READY, instances__state__in=[Instance.State.STOPPING, Instance.State.STOPPED])
    seen = 0
    for workspace_id in Workspace.objects.filter(waiting | quiet | leaving).values_list("pk", flat=True).distinct():
        try:
            workspace_power(workspace_id=workspace_id)
            seen += 1
        except CloudFault as error:
            logger.warning("instances of %s: %s", workspace_id, error.message)
    return seen


def instances_compare(*, workspace: Workspace) -> None:
    """Compare the rows with what EC2 says, and draw the conclusion for the workspace."""
    machines = {m.instance_id: m for m in aws_compute.machines(account_handle(workspace.cloud_account), workspace.pk)}
    silent = timezone.now() - timedelta(seconds=settings.INSTANCE_SILENCE)
    with transaction.atomic():
        for instance in workspace.instances.exclude(state=Instance.State.TERMINATED):
            machine = machines.get(instance.instance_id)
            state = _state_seen(instance, machine, silent)
            fields = {"public_ip": machine.public_ip, "private_ip": machine.private_ip} if machine else {}
            if state in {Instance.State.STOPPED, Instance.State.TERMINATED}:
                fields["running"] = []  # type: ignore[assignment]
            unchanged = Instance.objects.filter(pk=instance.pk, heartbeat_at=instance.heartbeat_at)
            unchanged.update(state=state, **fields)
        workspace.refresh_from_db(fields=["state", "state_reason", "active_run", "ready_at", "state_changed_at"])
        _conclude(workspace)


def _state_seen(instance: Instance, machine: aws_compute.Machine | None, silent: datetime) -> str:
    if machine is None or machine.state in {"terminated", "shutting-down"}:
        return Instance.State.TERMINATED
    if machine.state in {"stopped", "stopping", "pending"}:
        return machine.state
    if instance.heartbeat_at is None or instance.state == Instance.State.STOPPED:
        return Instance.State.PENDING
    if instance.heartbeat_at < silent:
        return Instance.State.UNREACHABLE if instance.state != Instance.State.PENDING else Instance.State.PENDING
    return instance.state


def _conclude(workspace: Workspace) -> None:
    states = set(workspace.instances.exclude(state=Instance.State.TERMINATED).values_list("state", flat=True))
    now, reason, target = timezone.now(), "", None
    if not states:
        if workspace.state in {_State.READY, _State.DEGRADED, _State.STOPPING} and workspace.active_run_id is None:
            target, reason = (
                _State.DEGRADED,
                "Its instance was terminated outside Orca. Re-apply to build a new one.",
            )
    elif states == {Instance.State.STOPPED}:
        if workspace.state in {_State.STOPPING, _State.READY, _State.DEGRADED}:
            target = _State.STOPPED
            reason = workspace.state_reason if workspace.state == _State.STOPPING else ""
    elif Instance.State.UNREACHABLE in states:
        if workspace.state == _State.READY:
            target = _State.DEGRADED
            reason = (
                "An instance runs but has not reported for a while. Orca keeps looking; stopping and starting helps."
            )
    elif states == {Instance.State.RUNNING} and workspace.state == _State.DEGRADED and workspace.active_run_id is None:
        target = _State.READY
    elif workspace.state == _State.APPLYING and workspace.active_run_id is None:
        waited = now - workspace.state_changed_at
        target = _State.DEGRADED if waited > timedelta(seconds=settings.READY_WITHIN) else None
        reason = "The instance runs, but its agent has not reported. Its console output says more."
    if target and target != workspace.state:
        fields: dict[str, Any] = {"state_reason": reason, "state_changed_at": now}
        if moved(workspace, Workspace.TRANSITIONS, target, **fields):
            announce(workspace)
