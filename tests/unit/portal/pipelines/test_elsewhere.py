"""Which instances a step is told to avoid: those on which another does the same, while there are others."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from agents.orca_agent import protocol
from portal.pipelines import dispatch
from portal.pipelines.elsewhere import avoided
from portal.pipelines.models import Outbox, Run, ScriptVersion, State, Step
from portal.workspaces.models import Instance, Workspace
from tests.unit.portal.pipelines.conftest import INSTANCE, queued_tasks

pytestmark = pytest.mark.django_db
OTHER = "i-0fedcba9876543210"


@pytest.fixture
def run(workspace: Workspace) -> Run:
    """A run of shards in a workspace with two instances."""
    workspace.instances.update(slots=50)
    Instance.objects.create(
        workspace=workspace, instance_id=OTHER, state="running", slots=50, heartbeat_at=timezone.now()
    )
    return Run.objects.create(owner=workspace.owner, workspace=workspace, name="many", at_once=50)


def shard(run: Run, version: ScriptVersion, position: int, **more: Any) -> Step:
    given = {"name": f"shard {position}", "rank": Step.Rank.SHARD, **more}
    return Step.objects.create(run=run, workspace=run.workspace, version=version, position=position, **given)


def at_work(run: Run, version: ScriptVersion, position: int, **more: Any) -> Step:
    now = timezone.now()
    return shard(
        run,
        version,
        position,
        **{"state": State.RUNNING, "released_at": now, "attempt": 1, "instance_id": INSTANCE, **more},
    )


def told(workspace: Workspace, captured: Any) -> dict[str, tuple[str, ...]]:
    """Hand out; what each of the tasks is to avoid."""
    with captured(execute=True):
        dispatch.steps_release(workspace=workspace)
    return {task.step: task.avoid for task in queued_tasks(workspace) if isinstance(task, protocol.Task)}


def test_the_second_of_two_avoids_the_instance_of_the_first(
    run: Run, version: ScriptVersion, django_capture_on_commit_callbacks: Any
) -> None:
    at_work(run, version, 1)
    twin, alone = shard(run, version, 1, superseded=True), shard(run, version, 2)
    found = told(run.workspace, django_capture_on_commit_callbacks)
    assert found == {twin.pk: (INSTANCE,), alone.pk: ()}


def test_the_first_of_two_that_is_tried_again_avoids_that_of_the_second(
    run: Run, version: ScriptVersion, django_capture_on_commit_callbacks: Any
) -> None:
    first = shard(run, version, 1, attempt=1)
    at_work(run, version, 1, superseded=True, instance_id=OTHER)
    again = shard(run, version, 2, attempt=1)
    found = told(run.workspace, django_capture_on_commit_callbacks)
    assert found == {first.pk: (OTHER,), again.pk: ()}


def test_what_came_back_again_and_again_is_done_anywhere(
    run: Run, version: ScriptVersion, django_capture_on_commit_callbacks: Any
) -> None:
    for position in (1, 2, 3):
        at_work(run, version, position)
    patient = shard(run, version, 1, superseded=True, attempt=2)
    weary = shard(run, version, 2, superseded=True, attempt=3)
    tried = shard(run, version, 3, superseded=True, attempt=3, tried=2)
    found = told(run.workspace, django_capture_on_commit_callbacks)
    assert found == {patient.pk: (INSTANCE,), weary.pk: (), tried.pk: (INSTANCE,)}


@pytest.mark.parametrize(
    "other", [{"state": State.FAILED}, {"state": State.QUEUED, "instance_id": ""}], ids=["ended", "not begun"]
)
def test_only_what_runs_is_avoided(
    run: Run, version: ScriptVersion, other: dict[str, Any], django_capture_on_commit_callbacks: Any
) -> None:
    at_work(run, version, 1, **other)
    twin = shard(run, version, 1, superseded=True)
    assert told(run.workspace, django_capture_on_commit_callbacks) == {twin.pk: ()}


def test_nothing_is_avoided_where_no_other_instance_will_stay(
    run: Run, version: ScriptVersion, django_capture_on_commit_callbacks: Any
) -> None:
    at_work(run, version, 1)
    gone = shard(run, version, 1, superseded=True)
    Instance.objects.filter(instance_id=OTHER).update(state="terminated")
    assert told(run.workspace, django_capture_on_commit_callbacks) == {gone.pk: ()}
    Instance.objects.filter(instance_id=OTHER).update(state="running")
    Workspace.objects.filter(pk=run.workspace_id).update(nodes_leaving=[OTHER])
    at_work(run, version, 2)
    leaving = shard(run, version, 2, superseded=True)
    found = told(Workspace.objects.get(pk=run.workspace_id), django_capture_on_commit_callbacks)
    assert found == {leaving.pk: ()}


def test_the_same_shard_of_another_run_is_another(
    run: Run, version: ScriptVersion, django_capture_on_commit_callbacks: Any
) -> None:
    later = Run.objects.create(owner=run.owner, workspace=run.workspace, name="later", at_once=50)
    at_work(later, version, 1)
    twin = shard(run, version, 1, superseded=True)
    assert told(run.workspace, django_capture_on_commit_callbacks) == {twin.pk: ()}


def test_what_is_no_twin_costs_nothing(run: Run, version: ScriptVersion, django_assert_num_queries: Any) -> None:
    steps = [shard(run, version, at) for at in range(5)]
    steps.append(shard(run, version, 6, rank=Step.Rank.RUN, attempt=3))
    rows = [Outbox(workspace=run.workspace, step=step, attempt=step.attempt + 1) for step in steps]
    with django_assert_num_queries(0):
        assert avoided(run.workspace, rows) == {}


def test_many_twins_cost_two_queries(run: Run, version: ScriptVersion, django_assert_num_queries: Any) -> None:
    twins = []
    for position in range(5):
        at_work(run, version, position, instance_id=OTHER if position % 2 else INSTANCE)
        twins.append(shard(run, version, position, superseded=True))
    rows = [Outbox(workspace=run.workspace, step=twin, attempt=1) for twin in twins]
    with django_assert_num_queries(2):
        found = avoided(run.workspace, rows)
    assert [found[twin.pk] for twin in twins] == [(INSTANCE,), (OTHER,)] * 2 + [(INSTANCE,)]


def test_a_twin_goes_in_a_message_of_its_own(run: Run, version: ScriptVersion) -> None:
    steps = [shard(run, version, at, superseded=at == 2) for at in range(5)]
    rows = [Outbox(workspace=run.workspace, step=step, attempt=1) for step in steps]
    packs = [[row.step.position for row in pack] for pack in dispatch._packs(rows, 10)]
    assert packs == [[0, 1], [2], [3, 4]]
