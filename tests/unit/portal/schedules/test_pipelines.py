"""A schedule of a pipeline: its parameters, its slot, and what its concurrency makes of a slot that comes too early."""

from __future__ import annotations

from typing import Any

import pytest

from portal.accounts.models import User
from portal.core.errors import Conflict, Invalid
from portal.pipelines.models import Pipeline, Run, Script, State
from portal.pipelines.pipelines import pipeline_apply, pipeline_archive
from portal.schedules import firing
from portal.schedules.models import Schedule
from portal.schedules.services import schedule_run_now
from portal.schedules.targets import Target
from portal.workspaces.models import Workspace

from .conftest import Clock, ScheduleMaker
from .test_firing import fires, told

__all__ = ["told"]
pytestmark = pytest.mark.django_db

SOURCE = """
name: nightly
workspace: lab
concurrency: {concurrency}
parameters:
  day:
  limit: "10"
steps:
  - name: fetch
    script: hello
    arguments: ["--day", "${{{{ parameters.day }}}}", "--at", "${{{{ run.due_at }}}}"]
"""


def pipeline_of(owner: User, concurrency: str) -> Pipeline:
    return pipeline_apply(owner=owner, source=SOURCE.format(concurrency=concurrency))[0]


@pytest.fixture
def every_minute(owner: User, workspace: Workspace, script: Script, clock: Clock, scheduled: ScheduleMaker) -> Any:
    """``every_minute("forbid")``: a schedule of a pipeline with that concurrency."""

    def make(concurrency: str) -> Schedule:
        pipeline = pipeline_of(owner, concurrency)
        return scheduled("* * * * *", target=Target("pipeline", pipeline=pipeline.pk, parameters={"day": "today"}))

    return make


def test_a_run_knows_its_slot_and_its_parameters(clock: Clock, every_minute: Any) -> None:
    schedule = every_minute("queue")
    clock.move(minutes=1, seconds=3)
    firing.schedules_fire()
    run = Run.objects.get()
    assert (run.via, run.due_at, run.parameters) == (
        Run.Via.SCHEDULE,
        clock.now.replace(second=0),
        {"day": "today", "limit": "10"},
    )
    assert run.steps.get().arguments == ["--day", "today", "--at", "2026-11-21T12:01:00+00:00"]
    assert schedule.fires.get().run == run


def test_a_busy_pipeline_that_forbids_refuses_and_everybody_is_told(clock: Clock, every_minute: Any, told: Any) -> None:
    schedule = every_minute("forbid")
    for _ in range(2):
        clock.move(minutes=1)
        firing.schedules_fire()
    assert fires(schedule) == [("12:01:00", "fired"), ("12:02:00", "refused")]
    fire = schedule.fires.get(state="refused")
    assert (fire.code, fire.why) == ("pipeline_busy", "nightly is still running.")
    assert told == ["refused"]
    Run.objects.update(state=State.SUCCEEDED)
    clock.move(minutes=1)
    firing.schedules_fire()
    assert fires(schedule)[-1] == ("12:03:00", "fired")


def test_a_pipeline_that_queues_is_not_given_more_than_it_will_ever_do(clock: Clock, every_minute: Any) -> None:
    schedule = every_minute("queue")
    for _ in range(firing.MOST_OPEN + 2):
        clock.move(minutes=1)
        firing.schedules_fire()
    states = [state for _, state in fires(schedule)]
    assert states == ["fired"] * firing.MOST_OPEN + ["refused"] * 2


def test_run_now_refuses_where_the_pipeline_does(clock: Clock, owner: User, every_minute: Any) -> None:
    schedule = every_minute("forbid")
    assert schedule_run_now(schedule=schedule, by=owner).run is not None
    with pytest.raises(Conflict, match="still running"):
        schedule_run_now(schedule=schedule, by=owner)
    assert schedule.fires.count() == 1


def test_a_deleted_pipeline_takes_its_schedules_out_of_service(clock: Clock, owner: User, every_minute: Any) -> None:
    schedule = every_minute("queue")
    pipeline_archive(pipeline=schedule.pipeline, by=owner)
    assert firing.schedules_check() == 1
    schedule.refresh_from_db()
    assert (schedule.enabled, schedule.disabled_reason) == (False, "The pipeline nightly was deleted.")


@pytest.mark.parametrize("parameters", [{}, {"day": "x", "dya": "y"}])
def test_parameters_that_do_not_fit_are_refused_beforehand(
    owner: User, workspace: Workspace, script: Script, scheduled: ScheduleMaker, parameters: dict[str, str]
) -> None:
    pipeline = pipeline_of(owner, "queue")
    with pytest.raises(Invalid) as refused:
        scheduled("* * * * *", target=Target("pipeline", pipeline=pipeline.pk, parameters=parameters))
    assert list(refused.value.fields) == ["parameters"]
