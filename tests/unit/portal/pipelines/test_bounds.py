"""How many steps of one run are out at once, and what they may cost: the bounds that dispatch keeps to."""

from __future__ import annotations

from typing import Any

import pytest

from portal.pipelines import dispatch
from portal.pipelines.events import runs_settling
from portal.pipelines.models import Run, ScriptVersion, State, Step
from portal.pipelines.progress import runs_settle
from portal.workspaces.models import Workspace
from tests.unit.portal.pipelines.conftest import queued_tasks

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace(workspace: Workspace) -> Workspace:
    workspace.instances.update(slots=10)
    return workspace


def bounded(workspace: Workspace, version: ScriptVersion, count: int, **bounds: Any) -> Run:
    run = Run.objects.create(owner=workspace.owner, workspace=workspace, name="many", **bounds)
    Step.objects.bulk_create(
        Step(run=run, workspace=workspace, version=version, position=at, rank=Step.Rank.SHARD, name=f"shard {at}")
        for at in range(count)
    )
    return run


def out(run: Run) -> int:
    return Step.objects.filter(run=run, released_at__isnull=False, state=State.QUEUED).count()


def test_no_more_steps_are_out_than_the_run_says(workspace: Workspace, version: ScriptVersion) -> None:
    run = bounded(workspace, version, 9, at_once=3)
    assert dispatch.steps_release(workspace=workspace) == 3
    assert dispatch.steps_release(workspace=workspace) == 0
    Step.objects.filter(pk=Step.objects.filter(run=run).exclude(released_at=None).values("pk")[:1][0]["pk"]).update(
        state=State.SUCCEEDED
    )
    assert dispatch.steps_release(workspace=workspace) == 1
    assert out(run) == 3


def test_nothing_goes_out_that_could_cost_more_than_is_left(workspace: Workspace, version: ScriptVersion) -> None:
    run = bounded(workspace, version, 9, at_once=9, cost_limit=1_000, cost_of_step=300, cost_spent=350)
    dispatch.steps_release(workspace=workspace)
    assert out(run) == 2  # 350 + 2 * 300 <= 1,000


def test_a_bounded_run_leaves_the_room_to_others(workspace: Workspace, version: ScriptVersion) -> None:
    first = bounded(workspace, version, 40, at_once=2)
    second = bounded(workspace, version, 40, at_once=5)
    assert dispatch.steps_release(workspace=workspace) == 7
    assert (out(first), out(second)) == (2, 5)


def test_what_somebody_runs_by_hand_comes_before_shards(
    workspace: Workspace, version: ScriptVersion, run_started: Any, django_capture_on_commit_callbacks: Any
) -> None:
    workspace.instances.update(slots=1)
    bounded(workspace, version, 40, at_once=40)
    by_hand = run_started()
    assert by_hand.steps.get().released_at is not None


def test_a_shards_message_names_its_items_and_its_container(
    workspace: Workspace, version: ScriptVersion, django_capture_on_commit_callbacks: Any
) -> None:
    run = bounded(workspace, version, 1, at_once=1)
    run.steps.update(
        data={"key": "jobs/a/items.jsonl", "offset": 10, "length": 20, "items": 2},
        container={"dockerfile": "Dockerfile", "network": True},
    )
    with django_capture_on_commit_callbacks(execute=True):
        dispatch.steps_release(workspace=workspace)
    (task,) = queued_tasks(workspace)
    assert (task.data.offset, task.data.length, task.data.items) == (10, 20, 2)  # type: ignore[union-attr]
    assert (task.container.dockerfile, task.container.network) == ("Dockerfile", True)  # type: ignore[union-attr]


def test_runs_that_are_not_bounded_settle_without_telling(workspace: Workspace, version: ScriptVersion) -> None:
    """Only jobs listen, and where nobody has one they cost nothing."""
    told: list[str] = []

    def hear(sender: object, *, run_ids: list[str], **_: Any) -> None:
        told.extend(run_ids)

    plain, job = bounded(workspace, version, 1), bounded(workspace, version, 1, at_once=1)
    runs_settling.connect(hear)
    try:
        runs_settle(run_ids=[plain.pk])
        assert told == []
        runs_settle(run_ids=[plain.pk, job.pk])
        assert told == [job.pk]
    finally:
        runs_settling.disconnect(hear)
