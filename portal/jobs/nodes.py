"""The nodes that jobs work on: instances of the workspace, as many as the job asks for and the quota allows.

A workspace that has fewer instances gets more for as long as such a job is open, and a while longer: the next job may
come soon. Shards run on what is there already.
"""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Sum
from django.utils import timezone

from portal.accounts.quotas import quota_of
from portal.core.background import enqueue
from portal.jobs.models import WORKING, Job, Phase
from portal.jobs.phases import phase_enter
from portal.pipelines.dispatch import AHEAD
from portal.pipelines.models import OPEN, Run, State, Step
from portal.workspaces.models import Instance, Workspace
from portal.workspaces.nodes import nodes_set, nodes_wake

SWEEP = "portal.jobs.tasks.nodes_sweep"


def at_once(job: Job) -> int:
    """How many shards may be out at once: what fills the slots of so many nodes.

    Where there are no more instances than nodes, some wait in the queue besides, so that no slot waits for the portal.
    Where there are more, these would not wait.
    """
    workspace = job.workspace
    alone = workspace.instance_count + workspace.node_count <= job.nodes
    return job.nodes * workspace.slots * (AHEAD if alone else 1)


def missing(job: Job) -> int:
    """How many of a job's nodes are not there yet."""
    up = Instance.objects.filter(workspace=job.workspace_id, state=Instance.State.RUNNING).count()
    return max(0, job.nodes - up)


def wanted_on_commit(workspace_id: str) -> None:
    """Have the number of nodes looked at, once what changed it is committed."""
    transaction.on_commit(lambda: enqueue(SWEEP, workspace_id))


def wanted(workspace: Workspace) -> int:
    """How many more instances than it always has a workspace should have now."""
    open_jobs = Job.objects.filter(workspace=workspace, phase__in=WORKING, run__state__in=OPEN)
    most = open_jobs.aggregate(most=Max("nodes"))["most"]
    if most is not None:
        elsewhere = Workspace.objects.filter(owner=workspace.owner_id).exclude(pk=workspace.pk)
        taken = elsewhere.aggregate(taken=Sum("node_count"))["taken"] or 0
        quota = quota_of(workspace.owner).nodes - taken
        return max(0, min(int(most), quota) - workspace.instance_count)
    linger = timezone.now() - timedelta(seconds=settings.NODES_LINGER)
    lately = Job.objects.filter(workspace=workspace, ended_at__gt=linger).exists()
    coming = Job.objects.filter(workspace=workspace, phase__in=[Phase.SEARCHING, Phase.SPLITTING]).exists()
    gathering = Job.objects.filter(workspace=workspace, phase=Phase.GATHERING).exists()
    return workspace.node_count if lately or coming or gathering else 0


def nodes_sweep(*, workspace_id: str = "") -> int:
    """Look after the nodes of every workspace whose jobs want some, or have wanted some; how many were looked at."""
    _started()
    _bounded()
    with_jobs = Job.objects.filter(phase__in=WORKING).values("workspace")
    rows = Workspace.objects.filter(pk__in=with_jobs) | Workspace.objects.filter(node_count__gt=0)
    if workspace_id:
        rows = rows.filter(pk=workspace_id)
    seen = 0
    for workspace in rows.exclude(state=Workspace.State.DESTROYED).select_related("cloud_account", "owner").distinct():
        if Job.objects.filter(workspace=workspace, phase=Phase.STARTING, run__state__in=OPEN).exists():
            nodes_wake(workspace=workspace)  # not for one that runs: then somebody has stopped it meanwhile
        nodes_set(workspace=workspace, count=wanted(workspace), busy=_busy(workspace))
        seen += 1
    return seen


def _bounded() -> None:
    """Another job may have brought nodes that this one did not ask for, or be gone with them."""
    for job in Job.objects.filter(phase__in=WORKING, run__state__in=OPEN).select_related("workspace", "run"):
        before, most = job.run.at_once, at_once(job)
        if before != most:
            Run.objects.filter(pk=job.run_id, at_once=before).update(at_once=most)


def _busy(workspace: Workspace) -> frozenset[str]:
    at_work = Step.objects.filter(workspace=workspace, state=State.RUNNING).exclude(instance_id="")
    return frozenset(at_work.values_list("instance_id", flat=True).distinct())


def _started() -> None:
    """Jobs whose nodes are all there do not start any more."""
    for job in Job.objects.filter(phase=Phase.STARTING, run__state__in=OPEN).select_related("workspace", "run"):
        if not missing(job):
            phase_enter(job, Phase.RUNNING, message="", nodes_ready_at=timezone.now())
