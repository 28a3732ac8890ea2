"""Questions about schedules."""

from __future__ import annotations

from django.db.models import QuerySet

from portal.accounts.models import User
from portal.core.errors import NotFound
from portal.pipelines.models import Run
from portal.schedules.models import Fire, Schedule
from portal.schedules.times import upcoming
from portal.schedules.timing import Coming, coming, timing_of
from portal.workspaces.models import Workspace


def schedules_of(owner: User) -> QuerySet[Schedule]:
    """A person's schedules with what they start and what came of their last slot; newest first."""
    return Schedule.objects.filter(owner=owner).select_related(
        "owner", "pipeline", "script", "workspace", "last_fire__run"
    )


def schedule_get(*, owner: User, schedule_id: str) -> Schedule:
    """One of a person's schedules. Raises ``NotFound``."""
    found = schedules_of(owner).filter(pk=schedule_id).first()
    if found is None:
        raise NotFound("There is no such schedule.")
    return found


def fires_of(schedule: Schedule) -> QuerySet[Fire]:
    """What became of its slots, the newest first."""
    return schedule.fires.select_related("run")


def coming_of(schedule: Schedule, *, count: int = 5) -> list[Coming]:
    """The slots that it will fire next, as things stand; the first may be due already."""
    if schedule.next_at is None:
        return []
    rule = timing_of(schedule).rule()
    return coming(rule, schedule.zone, [schedule.next_at, *upcoming(rule, schedule.next_at, count - 1)])


def schedules_in(workspace: Workspace) -> QuerySet[Schedule]:
    """The schedules that start something in a workspace, or start or stop it; the next due first."""
    direct = Schedule.objects.filter(workspace=workspace)
    return (
        (direct | Schedule.objects.filter(pipeline__workspace=workspace))
        .select_related("pipeline", "script", "workspace", "last_fire__run")
        .order_by("next_at", "name")
    )


def schedule_of_run(run: Run) -> Schedule | None:
    """What started a run, if a schedule that is still there did."""
    fire = Fire.objects.filter(run=run).select_related("schedule").first()
    return fire.schedule if fire else None
