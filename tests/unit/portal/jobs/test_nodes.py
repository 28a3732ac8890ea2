"""The nodes of jobs: as many as the job asks for, at most the quota, and no longer than they are wanted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from portal.accounts.models import User
from portal.jobs import nodes, services
from portal.jobs.models import Job
from portal.pipelines.models import Run, Step
from portal.workspaces import nodes as workspace_nodes
from portal.workspaces.control import _desired
from portal.workspaces.models import Instance, TerraformRun, Workspace
from portal.workspaces.terraform_director import terraform_variables
from portal.workspaces.terraform_runs import terraform_run_end
from tests.unit.portal.jobs.conftest import ready_workspace

pytestmark = pytest.mark.django_db
Make = Callable[..., Job]
FIRST = "i-0123456789abcdef0"


@pytest.fixture
def workspace(workspace: Workspace) -> Workspace:
    Workspace.objects.filter(pk=workspace.pk).update(outputs={"instance_ids": [FIRST]})
    workspace.refresh_from_db()
    return workspace


def applied(workspace: Workspace, *ids: str) -> None:
    """Terraform has done what was asked for; the instances report."""
    run = TerraformRun.objects.get(workspace=workspace, state="queued")
    TerraformRun.objects.filter(pk=run.pk).update(state="applying")
    run.refresh_from_db()
    Workspace.objects.filter(pk=workspace.pk).update(outputs={"instance_ids": [FIRST, *ids]})
    for instance_id in ids:
        Instance.objects.update_or_create(
            workspace=workspace,
            instance_id=instance_id,
            defaults={"state": "running", "slots": 2, "heartbeat_at": timezone.now()},
        )
    workspace.instances.exclude(instance_id__in=[FIRST, *ids]).update(state="terminated")
    assert terraform_run_end(run=run, state="succeeded")
    workspace.refresh_from_db()


def ended(job: Job, *, ago: float) -> None:
    services.run_end_without_steps(job.run, "succeeded")
    Step.objects.filter(run=job.run_id).update(state="succeeded")
    job.run.refresh_from_db()
    type(job.run).objects.filter(pk=job.run_id).update(state="succeeded")
    Job.objects.filter(pk=job.pk).update(phase="ended", ended_at=timezone.now() - timedelta(seconds=ago))


def test_a_job_gets_the_nodes_it_asks_for_and_works_meanwhile(split: Make, workspace: Workspace) -> None:
    job = split(nodes=3, shards={"most_items": 1})
    assert job.phase == "starting"
    assert Step.objects.filter(run=job.run_id, released_at__isnull=False).exists()
    nodes.nodes_sweep()
    workspace.refresh_from_db()
    assert workspace.node_count == 2
    assert terraform_variables(workspace, "apply")["instance_count"] == 3
    nodes.nodes_sweep()  # while Terraform is at work nothing else is asked for
    assert TerraformRun.objects.count() == 1
    applied(workspace, "i-2", "i-3")
    nodes.nodes_sweep()
    job.refresh_from_db()
    assert job.phase == "running"
    assert job.nodes_ready_at is not None
    assert TerraformRun.objects.count() == 1


def test_what_is_there_already_is_enough(split: Make, workspace: Workspace) -> None:
    job = split(nodes=1)
    nodes.nodes_sweep()
    assert job.phase == "running"
    assert not TerraformRun.objects.exists()


def test_the_quota_holds_for_all_workspaces_of_a_person(
    split: Make, workspace: Workspace, owner: User, settings: Settings
) -> None:
    settings.QUOTA = {**settings.QUOTA, "nodes": 4}
    other = ready_workspace(owner, workspace.cloud_account, name="other")
    Workspace.objects.filter(pk=other.pk).update(node_count=2)
    split(nodes=4, workspace="lab")
    assert nodes.wanted(workspace) == 1


def test_after_the_last_job_they_stay_a_while_and_go_when_idle(split: Make, workspace: Workspace) -> None:
    job = split(nodes=2)
    nodes.nodes_sweep()
    applied(workspace, "i-2")
    ended(job, ago=10)
    nodes.nodes_sweep()
    workspace.refresh_from_db()
    assert (workspace.node_count, workspace.nodes_leaving) == (1, [])

    ended(job, ago=100)
    nodes.nodes_sweep()
    workspace.refresh_from_db()
    assert workspace.nodes_leaving == ["i-2"]
    assert _desired(workspace).leaving == ("i-2",)

    Workspace.objects.update(nodes_leaving_since=timezone.now() - 2 * workspace_nodes.HEARD_WITHIN)
    Instance.objects.filter(instance_id="i-2").update(running=["a step"])
    nodes.nodes_sweep()
    workspace.refresh_from_db()
    assert workspace.node_count == 1, "it works still"

    Instance.objects.filter(instance_id="i-2").update(running=[])
    nodes.nodes_sweep()
    workspace.refresh_from_db()
    assert (workspace.node_count, workspace.nodes_leaving) == (0, [])
    applied(workspace)
    nodes.nodes_sweep()
    assert TerraformRun.objects.count() == 2


def test_a_job_that_comes_meanwhile_keeps_them(split: Make, workspace: Workspace) -> None:
    first = split(nodes=2)
    nodes.nodes_sweep()
    applied(workspace, "i-2")
    ended(first, ago=100)
    nodes.nodes_sweep()
    split(nodes=2)
    nodes.nodes_sweep()
    workspace.refresh_from_db()
    assert (workspace.node_count, workspace.nodes_leaving) == (1, [])
    assert TerraformRun.objects.count() == 1


def test_a_stopped_workspace_is_started_for_its_job(split: Make, workspace: Workspace) -> None:
    Workspace.objects.filter(pk=workspace.pk).update(state="stopped")
    workspace.instances.update(state="stopped")
    job = split(nodes=1)
    assert job.phase == "starting"
    nodes.nodes_sweep()
    workspace.refresh_from_db()
    assert workspace.state == "applying"


def test_an_apply_that_failed_is_tried_again_after_a_while(split: Make, workspace: Workspace) -> None:
    split(nodes=2)
    nodes.nodes_sweep()
    run = TerraformRun.objects.get()
    TerraformRun.objects.filter(pk=run.pk).update(state="applying")
    run.refresh_from_db()
    assert terraform_run_end(run=run, state="failed")
    nodes.nodes_sweep()
    assert TerraformRun.objects.count() == 1
    TerraformRun.objects.update(finished_at=timezone.now() - timedelta(minutes=2))
    nodes.nodes_sweep()
    assert TerraformRun.objects.count() == 2


def test_a_workspace_that_somebody_stops_is_left_alone(split: Make, workspace: Workspace, owner: Any) -> None:
    split(nodes=2)
    Workspace.objects.filter(pk=workspace.pk).update(stop_requested_at=timezone.now())
    nodes.nodes_sweep()
    assert not TerraformRun.objects.exists()


def test_a_node_that_died_is_replaced(split: Make, workspace: Workspace) -> None:
    split(nodes=2)
    nodes.nodes_sweep()
    applied(workspace, "i-2")
    nodes.nodes_sweep()
    assert TerraformRun.objects.count() == 1
    Instance.objects.filter(instance_id="i-2").update(state="terminated")
    nodes.nodes_sweep()
    assert TerraformRun.objects.count() == 2


def test_nodes_of_another_job_do_not_let_more_shards_run(split: Make, workspace: Workspace) -> None:
    """Those that wait in the queue, so that no slot waits for the portal, would run there."""

    def bound() -> int | None:
        return Run.objects.values_list("at_once", flat=True).get(pk=job.run_id)

    job = split(nodes=1, shards={"most_items": 1})
    assert bound() == 2 * workspace.slots
    Workspace.objects.filter(pk=workspace.pk).update(node_count=3)
    nodes.nodes_sweep()
    assert bound() == workspace.slots
    Workspace.objects.filter(pk=workspace.pk).update(node_count=0)
    nodes.nodes_sweep()
    assert bound() == 2 * workspace.slots
