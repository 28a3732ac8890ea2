"""Schedules are made, changed, turned off and on; what cannot be is refused with the field that is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import Settings

from portal.accounts.models import User
from portal.core.errors import Conflict, Invalid, LimitReached, NotFound
from portal.pipelines.models import Script
from portal.schedules import firing
from portal.schedules.models import Fire, Schedule
from portal.schedules.selectors import coming_of, schedule_get, schedule_of_run, schedules_in
from portal.schedules.services import schedule_change, schedule_create, schedule_disable, schedule_enable
from portal.schedules.targets import Target, target_of
from portal.schedules.timing import Timing, preview, timing_of, words_of
from portal.workspaces.models import Workspace
from tests.people import person

from .conftest import NOON, Clock, ScheduleMaker

pytestmark = pytest.mark.django_db


def changed(schedule: Schedule, owner: User, *, name: str = "", **timing: Any) -> Schedule:
    return schedule_change(
        schedule=schedule,
        by=owner,
        name=name or schedule.name,
        timing=replace(timing_of(schedule), **timing),
        target=target_of(schedule),
        missed=schedule.missed,
    )


@pytest.mark.parametrize(
    ("timing", "field"),
    [
        (Timing("cron", expression="0 0 31 2 *"), "expression"),
        (Timing("cron", expression="* " * 150), "expression"),
        (Timing("cron", expression="* * * * *", zone="Mars/Base"), "zone"),
        (Timing("interval", every=0, unit="seconds"), "every"),
        (Timing("interval", every=400, unit="days"), "every"),
        (Timing("interval", every=None, unit="days"), "every"),
        (Timing("interval", every=1, unit="weeks"), "unit"),
        (Timing("once"), "at"),
        (Timing("once", at=NOON - timedelta(seconds=1)), "at"),
        (Timing("once", at=datetime(9999, 12, 31, tzinfo=UTC)), "at"),
        (Timing("once", at=datetime(1, 1, 1, tzinfo=UTC)), "at"),
        (Timing("solar"), "kind"),
    ],
)
def test_a_timing_that_cannot_be_names_its_field(
    clock: Clock, owner: User, workspace: Workspace, timing: Timing, field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        schedule_create(owner=owner, name="x", timing=timing, target=Target("stop", workspace=workspace.pk))
    assert list(refused.value.fields) == [field]
    assert not Schedule.objects.exists()


def test_the_shortest_interval_is_a_setting(clock: Clock, scheduled: ScheduleMaker, settings: Settings) -> None:
    assert scheduled(every=1, unit="seconds").next_at == NOON + timedelta(seconds=1)
    settings.LEAST_INTERVAL = 60
    with pytest.raises(Invalid, match="cannot be scheduled"):
        scheduled(every=59, unit="seconds", name="too often")


def test_a_moment_without_offset_is_one_on_the_clocks_of_the_zone(clock: Clock, scheduled: ScheduleMaker) -> None:
    wall = datetime(2027, 7, 1, 6, tzinfo=UTC).replace(tzinfo=None)
    assert scheduled(at=wall, zone="Europe/Berlin").next_at == datetime(2027, 7, 1, 4, tzinfo=UTC)


def test_names_differ(clock: Clock, scheduled: ScheduleMaker, owner: User) -> None:
    scheduled("* * * * *", name="a")
    other = scheduled("* * * * *", name="b")
    with pytest.raises(Conflict, match="already have") as refused:
        scheduled("* * * * *", name=" a ")
    assert refused.value.code == "name_taken"
    with pytest.raises(Conflict, match="already have"):
        changed(other, owner, name="a")


def test_there_is_an_end_to_how_many(clock: Clock, scheduled: ScheduleMaker, settings: Settings) -> None:
    settings.MAX_SCHEDULES = 1
    scheduled("* * * * *", name="a")
    with pytest.raises(LimitReached):
        scheduled("* * * * *", name="b")


def test_what_is_another_persons_is_not_there(
    clock: Clock, scheduled: ScheduleMaker, workspace: Workspace, script: Script
) -> None:
    schedule = scheduled("* * * * *")
    mallory = person("mallory@example.org")
    with pytest.raises(NotFound):
        schedule_get(owner=mallory, schedule_id=schedule.pk)
    own = Workspace.objects.create(
        owner=mallory, name="m", claimed_name="m", cloud_account=workspace.cloud_account, state="ready"
    )
    for target in (
        Target("stop", workspace=workspace.pk),
        Target("script", workspace=own.pk, script=script.pk),
        Target("script", workspace=workspace.pk, script=script.pk),
        Target("pipeline", pipeline="01hzzzzzzzzzzzzzzzzzzzzzzz"),
    ):
        with pytest.raises(NotFound):
            schedule_create(owner=mallory, name="x", timing=Timing("interval", every=1, unit="days"), target=target)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"arguments": ["x"] * 201}, "arguments"),
        ({"environment": {"AWS_REGION": "x"}}, "environment"),
        ({"limits": {"seconds": 0}}, "limits"),
    ],
)
def test_what_a_run_would_refuse_is_refused_beforehand(
    clock: Clock, scheduled: ScheduleMaker, workspace: Workspace, script: Script, more: Any, field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        scheduled("* * * * *", target=Target("script", workspace=workspace.pk, script=script.pk, **more))
    assert field in refused.value.fields


def test_what_is_gone_is_not_scheduled(clock: Clock, scheduled: ScheduleMaker, workspace: Workspace) -> None:
    Workspace.objects.update(state="destroyed")
    with pytest.raises(Conflict, match="was destroyed"):
        scheduled("* * * * *")


def test_another_zone_moves_the_next_time(clock: Clock, scheduled: ScheduleMaker, owner: User) -> None:
    schedule = scheduled("0 18 * * *")
    assert schedule.next_at == datetime(2026, 11, 21, 18, tzinfo=UTC)
    after = changed(schedule, owner, zone="Asia/Tokyo")
    assert after.next_at == datetime(2026, 11, 22, 9, tzinfo=UTC)


def test_a_change_loses_no_slot_that_is_due_already(clock: Clock, scheduled: ScheduleMaker, owner: User) -> None:
    schedule = scheduled("0 13 * * *")
    clock.set(2026, 11, 21, 13, 0, 0)
    after = changed(schedule, owner, expression="0 20 * * *")
    assert after.next_at == clock.now
    firing.schedules_fire()
    after.refresh_from_db()
    assert (Fire.objects.get().due_at, after.next_at) == (clock.now, datetime(2026, 11, 21, 20, tzinfo=UTC))


def test_a_change_repeats_no_slot(clock: Clock, scheduled: ScheduleMaker, owner: User) -> None:
    schedule = scheduled("0 13 * * *")
    clock.set(2026, 11, 21, 13, 0, 5)
    firing.schedules_fire()
    clock.set(2026, 11, 21, 12, 59)  # and the clock is set back, too
    changed(schedule, owner, expression="0 13,14 * * *")
    clock.set(2026, 11, 21, 14, 0, 5)
    firing.schedules_fire()
    firing.schedules_fire()
    assert sorted(f"{fire.due_at:%H:%M} {fire.state}" for fire in Fire.objects.all()) == ["13:00 fired", "14:00 fired"]


def test_another_name_changes_no_time(clock: Clock, scheduled: ScheduleMaker, owner: User) -> None:
    schedule = scheduled(every=7, unit="minutes")
    clock.move(minutes=3)
    after = changed(schedule, owner, name="other", at=None)  # a form that says nothing about what it is counted from
    assert (after.name, after.at, after.next_at) == ("other", NOON, NOON + timedelta(minutes=7))


def test_a_moment_that_has_passed_may_be_renamed_and_not_turned_on(
    clock: Clock, scheduled: ScheduleMaker, owner: User
) -> None:
    schedule = scheduled(at=NOON + timedelta(minutes=1))
    clock.move(minutes=2)
    firing.schedules_fire()
    schedule.refresh_from_db()
    assert changed(schedule, owner, name="other").look == "over"
    schedule_disable(schedule=schedule, by=owner)
    with pytest.raises(Conflict, match="has passed"):
        schedule_enable(schedule=schedule, by=owner)
    again = changed(schedule, owner, at=NOON + timedelta(hours=1))
    schedule_enable(schedule=again, by=owner)
    assert again.next_at == NOON + timedelta(hours=1)


def test_a_schedule_can_be_made_turned_off(clock: Clock, owner: User, workspace: Workspace) -> None:
    schedule = schedule_create(
        owner=owner,
        name="x",
        timing=Timing("cron", expression="* * * * *"),
        target=Target("stop", workspace=workspace.pk),
        enabled=False,
    )
    assert (schedule.enabled, schedule.next_at, coming_of(schedule)) == (False, None, [])


def test_a_preview_is_what_will_happen(clock: Clock, scheduled: ScheduleMaker) -> None:
    clock.set(2026, 3, 28, 3)
    timing = Timing("cron", expression="30 2 * * *", zone="Europe/Berlin")
    shown = preview(timing)
    assert shown.words == "At 02:30 every day"
    assert [f"{slot.local:%m-%d %H:%M}" for slot in shown.coming][:2] == ["03-29 03:00", "03-30 02:30"]
    assert shown.coming[0].utc == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert "does not exist" in shown.coming[0].note
    assert coming_of(scheduled("30 2 * * *", zone="Europe/Berlin")) == shown.coming


@pytest.mark.parametrize(
    ("timing", "words"),
    [
        (Timing("interval", every=1, unit="days"), "Every day"),
        (Timing("interval", every=90, unit="seconds"), "Every 90 seconds"),
        (Timing("once"), "Once"),
        (Timing("cron", expression="0 6 * * 1-5"), "At 06:00 on Monday through Friday"),
    ],
)
def test_timings_have_words(timing: Timing, words: str) -> None:
    assert words_of(timing) == words


def test_a_workspace_and_a_run_know_their_schedules(
    clock: Clock, scheduled: ScheduleMaker, workspace: Workspace
) -> None:
    schedule = scheduled("* * * * *")
    clock.move(minutes=1)
    firing.schedules_fire()
    fire = Fire.objects.get()
    assert list(schedules_in(workspace)) == [schedule]
    assert fire.run is not None
    assert schedule_of_run(fire.run) == schedule
