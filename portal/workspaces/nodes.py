"""Instances that are there only as long as somebody wants them: beside those that a workspace always has.

More of them are made by Terraform, as all instances are. Fewer: those with the highest numbers are told to take nothing
new, and go away, by Terraform again, when what they work on has ended.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from portal.core.audit import audit
from portal.core.errors import OrcaError
from portal.workspaces.control import control_changed
from portal.workspaces.events import instances_wanted
from portal.workspaces.models import Instance, TerraformRun, Workspace
from portal.workspaces.services import workspace_start
from portal.workspaces.terraform_runs import terraform_run_request

logger = logging.getLogger(__name__)
# So long an instance is given to hear that it shall take nothing new.
HEARD_WITHIN = timedelta(seconds=20)
_TRIED_AGAIN = timedelta(seconds=60)
_BUILT = frozenset({Workspace.State.READY, Workspace.State.DEGRADED})


def nodes_set(*, workspace: Workspace, count: int, busy: frozenset[str] = frozenset()) -> bool:
    """Bring a workspace nearer to having ``count`` instances more than it always has; whether it is there.

    ``busy`` are the ids of instances that work on something, whatever they last said. To be called again until it is
    true: Terraform takes its time, and so do the instances that are to leave.
    """
    if workspace.state not in _BUILT or workspace.active_run_id or workspace.stop_requested_at:
        return False
    if count < workspace.node_count:
        return _lessened(workspace, count, busy)
    if workspace.nodes_leaving:
        Workspace.objects.filter(pk=workspace.pk).update(nodes_leaving=[])
        control_changed([workspace.pk])
    if count == workspace.node_count and _all_there(workspace):
        return True
    return _applied(workspace, count)


def _all_there(workspace: Workspace) -> bool:
    """Whether Terraform has made as many as are wanted, and none of them was terminated since."""
    ids = workspace.outputs.get("instance_ids", [])
    wanted = workspace.instance_count + workspace.node_count
    gone = workspace.instances.filter(instance_id__in=ids, state=Instance.State.TERMINATED)
    return len(ids) == wanted and not (workspace.node_count and gone.exists())


def nodes_wake(*, workspace: Workspace) -> None:
    """Start a workspace that is stopped, for what is to run in it."""
    if workspace.state != Workspace.State.STOPPED:
        return
    try:
        workspace_start(workspace=workspace)
    except OrcaError as error:
        logger.info("%s is not started yet: %s", workspace.pk, error.message)


def _applied(workspace: Workspace, count: int, **fields: Any) -> bool:
    """Have Terraform bring the instances to that number; False. One that failed a moment ago is given time."""
    last = workspace.terraform_runs.order_by("-created_at").first()
    failed = last is not None and last.state == TerraformRun.State.FAILED and last.finished_at is not None
    if failed and count == workspace.node_count and last.finished_at > timezone.now() - _TRIED_AGAIN:  # type: ignore[union-attr, operator]
        return False
    try:
        with transaction.atomic():
            Workspace.objects.filter(pk=workspace.pk).update(node_count=count, **fields)
            if count > workspace.node_count:
                instances_wanted.send(sender=Workspace, workspace=workspace)
            audit("workspace.nodes", workspace, by=None, before=workspace.node_count, after=count)
            terraform_run_request(workspace=workspace, operation=TerraformRun.Operation.APPLY, by=None)
    except OrcaError as error:
        logger.info("%s does not get %d nodes yet: %s", workspace.pk, count, error.message)
    return False


def _lessened(workspace: Workspace, count: int, busy: frozenset[str]) -> bool:
    """Tell the last ones to take nothing new, and have those taken away that are idle then; False."""
    ids = [str(pk) for pk in workspace.outputs.get("instance_ids", [])][workspace.instance_count + count :]
    rows = Workspace.objects.filter(pk=workspace.pk)
    if workspace.nodes_leaving != ids:
        rows.update(nodes_leaving=ids, nodes_leaving_since=timezone.now())
        control_changed([workspace.pk])
        return False
    since = workspace.nodes_leaving_since
    if since is None or timezone.now() - since < HEARD_WITHIN:
        return False
    at_work = workspace.instances.filter(instance_id__in=ids, state=Instance.State.RUNNING).exclude(running=[])
    if busy.intersection(ids) or at_work.exists():
        return False
    return _applied(workspace, count, nodes_leaving=[])
