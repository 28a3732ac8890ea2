"""What becomes of a slot: fired once, noted as missed, refused with its reason, or failed without harm to others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from portal.accounts.models import User
from portal.core.errors import Conflict
from portal.pipelines.models import Run, Script, State
from portal.schedules import firing, targets
from portal.schedules.events import slot_not_run
from portal.schedules.models import Fire, Schedule
from portal.schedules.services import schedule_delete, schedule_disable, schedule_enable, schedule_run_now
from portal.schedules.targets import Target
from portal.workspaces.models import Secret, Workspace

from .conftest import NOON, Clock, ScheduleMaker

pytestmark = pytest.mark.django_db


def fires(schedule: Schedule) -> list[tuple[str, str]]:
    """Of each of its slots the time and what became of it, in order."""
    return [(f"{fire.due_at:%H:%M:%S}", fire.state) for fire in schedule.fires.order_by("due_at")]


def test_a_slot_starts_a_run_and_is_written_down(clock: Clock, scheduled: ScheduleMaker, workspace: Workspace) -> None:
    schedule = scheduled("*/15 * * * *")
    assert schedule.next_at == NOON + timedelta(minutes=15)
    assert firing.schedules_fire() == 0

    clock.set(2026, 11, 21, 12, 15, 1)
    assert firing.schedules_fire() == 1
    assert firing.schedules_fire() == 0
    run = Run.objects.get()
    assert (run.via, run.workspace, run.name) == (Run.Via.SCHEDULE, workspace, "hello")
    fire = Fire.objects.get()
    assert (fire.run, fire.state, fire.due_at) == (run, "fired", NOON + timedelta(minutes=15))
    schedule.refresh_from_db()
    assert (schedule.next_at, schedule.last_fire) == (NOON + timedelta(minutes=30), fire)


def test_a_script_gets_what_was_written_down_for_it(
    clock: Clock, scheduled: ScheduleMaker, workspace: Workspace, script: Script
) -> None:
    Secret.objects.create(workspace=workspace, name="API_KEY", changed_at=clock.now)
    given: dict[str, Any] = {
        "secrets": ["API_KEY"],
        "arguments": ["--day", "a b"],
        "environment": {"LEVEL": "info"},
        "limits": {"seconds": 7},
    }
    scheduled("* * * * *", target=Target("script", workspace=workspace.pk, script=script.pk, version=1, **given))
    clock.move(minutes=1)
    firing.schedules_fire()
    step = Run.objects.get().steps.get()
    assert step.secrets == ["API_KEY"]
    assert (step.arguments, step.environment, step.limits["seconds"]) == (["--day", "a b"], {"LEVEL": "info"}, 7)


def test_slots_that_are_a_little_late_are_fired_each(clock: Clock, scheduled: ScheduleMaker) -> None:
    """A beat that was started anew has lost none."""
    schedule = scheduled(every=10, unit="seconds")
    clock.move(seconds=55)
    assert firing.schedules_fire() == 5
    assert fires(schedule) == [(f"12:00:{second}", "fired") for second in (10, 20, 30, 40, 50)]


def test_what_was_missed_is_noted_and_no_more(clock: Clock, scheduled: ScheduleMaker) -> None:
    schedule = scheduled("0 * * * *")
    clock.set(2026, 11, 21, 17, 30)
    firing.schedules_fire()
    fire = schedule.fires.get()
    assert (fire.state, fire.slots, fire.due_at.hour, fire.until and fire.until.hour) == ("missed", 5, 13, 17)
    assert "not running" in fire.why
    assert not Run.objects.exists()
    schedule.refresh_from_db()
    assert schedule.next_at == datetime(2026, 11, 21, 18, tzinfo=UTC)


def test_what_was_missed_is_made_up_for_once(clock: Clock, scheduled: ScheduleMaker) -> None:
    schedule = scheduled("0 * * * *", missed="run_once")
    clock.set(2026, 11, 21, 17, 30)
    firing.schedules_fire()
    assert fires(schedule) == [("13:00:00", "missed"), ("17:00:00", "fired")]
    assert Run.objects.count() == 1
    assert Fire.objects.get(state="fired").why == "Orca was not running then. One run for all that was missed."


def test_a_single_missed_slot_is_made_up_for(clock: Clock, scheduled: ScheduleMaker) -> None:
    schedule = scheduled(at=NOON + timedelta(hours=1))
    assert schedule.missed == Schedule.Missed.RUN_ONCE  # what one wants of a single moment, unless one says otherwise
    clock.move(days=1)
    firing.schedules_fire()
    assert fires(schedule) == [("13:00:00", "fired")]
    schedule.refresh_from_db()
    assert (schedule.next_at, schedule.look) == (None, "over")


def test_the_next_slot_makes_up_for_the_missed_ones_if_it_is_due(clock: Clock, scheduled: ScheduleMaker) -> None:
    schedule = scheduled("* * * * *", missed="run_once")
    clock.set(2026, 11, 21, 12, 10, 30)
    firing.schedules_fire()
    assert fires(schedule) == [("12:01:00", "missed"), ("12:10:00", "fired")]
    assert schedule.fires.get(state="missed").slots == 9


def test_years_of_a_slot_each_second_are_one_row_and_no_time(clock: Clock, scheduled: ScheduleMaker) -> None:
    schedule = scheduled(every=1, unit="seconds")
    clock.set(2028, 11, 21, 12, 0, 0)
    firing.schedules_fire()
    missed = schedule.fires.get(state="missed")
    assert missed.until == clock.now - firing.LATE
    assert schedule.fires.filter(state="fired").count() == firing.MOST_OPEN
    assert schedule.fires.filter(state="refused").count() == 60 - firing.MOST_OPEN


def test_a_schedule_whose_runs_do_not_end_starts_no_more(clock: Clock, scheduled: ScheduleMaker) -> None:
    schedule = scheduled(every=1, unit="seconds")
    clock.move(seconds=firing.MOST_OPEN + 1)
    firing.schedules_fire()
    assert [state for _, state in fires(schedule)] == ["fired"] * firing.MOST_OPEN + ["refused"]
    assert "have not ended" in schedule.fires.get(state="refused").why
    Run.objects.update(state=State.SUCCEEDED)
    clock.move(seconds=1)
    firing.schedules_fire()
    assert fires(schedule)[-1][1] == "fired"


def test_a_disabled_schedule_rests_and_makes_up_for_nothing(
    clock: Clock, owner: User, scheduled: ScheduleMaker
) -> None:
    schedule = scheduled("0 * * * *", missed="run_once")
    schedule_disable(schedule=schedule, by=owner)
    clock.move(hours=5)
    assert firing.schedules_fire() == 0
    schedule_enable(schedule=schedule, by=owner)
    assert firing.schedules_fire() == 0
    assert schedule.next_at == NOON + timedelta(hours=6)
    assert fires(schedule) == []


def test_run_now_starts_it_and_changes_no_time(clock: Clock, owner: User, scheduled: ScheduleMaker) -> None:
    schedule = scheduled("0 * * * *")
    clock.move(minutes=7)
    fire = schedule_run_now(schedule=schedule, by=owner)
    assert (fire.by_hand, fire.run) == (True, Run.objects.get())
    schedule.refresh_from_db()
    assert (schedule.next_at, schedule.last_fire) == (NOON + timedelta(hours=1), fire)


def test_deleting_leaves_nothing_behind_but_the_runs(clock: Clock, owner: User, scheduled: ScheduleMaker) -> None:
    schedule = scheduled("* * * * *")
    clock.move(minutes=1)
    firing.schedules_fire()
    schedule_delete(schedule=schedule, by=owner)
    assert (Schedule.objects.count(), Fire.objects.count(), Run.objects.count()) == (0, 0, 1)
    clock.move(minutes=1)
    assert firing.schedules_fire() == 0


# --- what starts nothing ---------------------------------------------------------------------------------------------
@pytest.fixture
def told() -> Any:
    """The states of slots that started nothing, as others are told of them."""
    heard: list[str] = []

    def slot(sender: object, *, fire: Fire, **_: Any) -> None:
        heard.append(fire.state)

    slot_not_run.connect(slot)
    yield heard
    slot_not_run.disconnect(slot)


def test_a_slot_that_is_refused_says_why_and_is_told(
    clock: Clock, scheduled: ScheduleMaker, workspace: Workspace, told: Any
) -> None:
    schedule = scheduled("* * * * *")
    Workspace.objects.update(state="failed")
    clock.move(minutes=1)
    firing.schedules_fire()
    fire = schedule.fires.get()
    assert (fire.state, fire.code) == ("refused", "workspace_not_usable")
    assert "takes no runs" in fire.why
    assert told == ["refused"]
    schedule.refresh_from_db()
    assert (schedule.enabled, schedule.last_fire) == (True, fire)


def test_a_missed_slot_is_told(clock: Clock, scheduled: ScheduleMaker, told: Any) -> None:
    scheduled("0 * * * *")
    clock.move(hours=3)
    firing.schedules_fire()
    assert told == ["missed"]


def test_a_fault_in_one_keeps_no_other_from_being_fired(
    clock: Clock, scheduled: ScheduleMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = scheduled("* * * * *", name="bad"), scheduled("* * * * *", name="good")

    def start(schedule: Schedule, **given: Any) -> Any:
        if schedule.pk == bad.pk:
            raise KeyError("nobody foresaw this")
        return targets.start(schedule, **given)

    monkeypatch.setattr("portal.schedules.firing.start", start)
    clock.move(minutes=1)
    firing.schedules_fire()
    assert fires(bad) == [("12:01:00", "failed")]
    assert fires(good) == [("12:01:00", "fired")]


def test_what_failed_half_way_leaves_no_run(
    clock: Clock, scheduled: ScheduleMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduled("* * * * *")

    def start(schedule: Schedule, **given: Any) -> Any:
        targets.start(schedule, **given)
        raise Conflict("after all, no")

    monkeypatch.setattr("portal.schedules.firing.start", start)
    clock.move(minutes=1)
    firing.schedules_fire()
    assert Run.objects.count() == 0
    assert Fire.objects.get().why == "after all, no"


# --- starting and stopping workspaces -----------------------------------------------------------------------------
def test_a_workspace_is_started_and_stopped(clock: Clock, scheduled: ScheduleMaker, workspace: Workspace) -> None:
    stop = scheduled("0 20 * * *", name="night", target=Target("stop", workspace=workspace.pk))
    start = scheduled("0 6 * * *", name="morning", target=Target("start", workspace=workspace.pk))
    Workspace.objects.update(state="ready")
    clock.set(2026, 11, 21, 20)
    firing.schedules_fire()
    workspace.refresh_from_db()
    assert workspace.state == "stopping"
    Workspace.objects.update(state="stopped")
    clock.set(2026, 11, 22, 6)
    firing.schedules_fire()
    workspace.refresh_from_db()
    assert workspace.state == "applying"
    assert fires(stop) == [("20:00:00", "fired")]
    assert fires(start) == [("06:00:00", "fired")]


def test_what_is_so_already_is_no_failure(clock: Clock, scheduled: ScheduleMaker, workspace: Workspace) -> None:
    stop = scheduled("0 20 * * *", name="night", target=Target("stop", workspace=workspace.pk))
    clock.set(2026, 11, 21, 20)
    firing.schedules_fire()
    fire = stop.fires.get()
    assert (fire.state, fire.why) == ("fired", "It was stopped already.")


# --- what is gone -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("sweep", [True, False])
def test_a_schedule_of_an_archived_script_is_disabled_and_says_so(
    clock: Clock, owner: User, scheduled: ScheduleMaker, script: Script, sweep: bool
) -> None:
    schedule = scheduled("* * * * *")
    Script.objects.update(archived_at=clock.now)
    if sweep:
        assert firing.schedules_check() == 1
    clock.move(minutes=1)
    firing.schedules_fire()
    schedule.refresh_from_db()
    assert (schedule.enabled, schedule.next_at) == (False, None)
    assert schedule.disabled_reason == "The script hello was archived."
    assert fires(schedule) == ([] if sweep else [("12:01:00", "failed")])
    with pytest.raises(Conflict, match="was archived"):
        schedule_enable(schedule=schedule, by=owner)


def test_a_destroyed_workspace_takes_its_schedules_out_of_service(
    clock: Clock, scheduled: ScheduleMaker, workspace: Workspace
) -> None:
    from portal.workspaces.events import workspace_gone

    schedule = scheduled("* * * * *")
    Workspace.objects.update(state="destroyed")
    workspace_gone.send(Workspace, workspace=workspace)
    schedule.refresh_from_db()
    assert schedule.disabled_reason == "The workspace lab was destroyed."


def test_schedules_of_a_closed_account_are_disabled(clock: Clock, owner: User, scheduled: ScheduleMaker) -> None:
    schedule = scheduled("* * * * *")
    User.objects.update(is_active=False)
    clock.move(minutes=1)
    firing.schedules_fire()
    schedule.refresh_from_db()
    assert (schedule.enabled, Run.objects.count()) == (False, 0)


# --- clocks that are set ------------------------------------------------------------------------------------------
def test_a_clock_set_back_repeats_nothing_and_loses_nothing(clock: Clock, scheduled: ScheduleMaker) -> None:
    schedule = scheduled("*/10 * * * *")
    for _ in range(6):
        clock.move(minutes=10)
        firing.schedules_fire()
    clock.move(minutes=-45)  # 12:15 again
    for _ in range(60):
        clock.move(minutes=1)
        firing.schedules_check()
        firing.schedules_fire()
    times = [time for time, _ in fires(schedule)]
    assert times == [f"{12 + n // 6}:{n % 6}0:00" for n in range(1, 8)]
    assert all(state == "fired" for _, state in fires(schedule))
    assert Run.objects.count() == 7


def test_a_clock_that_was_far_ahead_for_a_moment_does_not_silence_a_schedule(
    clock: Clock, scheduled: ScheduleMaker
) -> None:
    hourly, once = (
        scheduled("0 * * * *", name="hourly"),
        scheduled(at=NOON + timedelta(hours=3), name="once", missed="skip"),
    )
    clock.move(days=2_000, minutes=30)
    firing.schedules_fire()
    assert {fire.state for fire in Fire.objects.all()} == {"missed"}
    clock.move(days=-2_000, minutes=-30)
    firing.schedules_check()
    for _ in range(4):
        clock.move(hours=1)
        firing.schedules_fire()
    assert fires(hourly) == [(f"{hour}:00:00", "fired") for hour in (13, 14, 15, 16)]
    assert fires(once) == [("15:00:00", "fired")]


def test_a_clock_set_forward_is_as_if_orca_had_been_away(clock: Clock, scheduled: ScheduleMaker) -> None:
    schedule = scheduled("0 * * * *")
    clock.move(hours=3, minutes=30)
    firing.schedules_fire()
    clock.move(minutes=30)
    firing.schedules_fire()
    assert fires(schedule) == [("13:00:00", "missed"), ("16:00:00", "fired")]
    assert schedule.fires.get(state="missed").slots == 3


def test_history_does_not_grow_for_ever(clock: Clock, scheduled: ScheduleMaker) -> None:
    schedule = scheduled("0 0 * * *")
    for _ in range(3):
        clock.move(days=1)
        firing.schedules_fire()
    clock.move(days=firing.FIRES_KEPT.days - 0.5)
    assert firing.fires_forget() == 2
    assert schedule.fires.count() == 1


def test_what_many_schedules_start_is_handed_out_once_all_have_fired(
    clock: Clock, scheduled: ScheduleMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(firing.BATCH + 1):
        scheduled("* * * * *", name=f"schedule {number}")
    seen: list[int] = []

    def slots(workspace: Workspace) -> tuple[int, int]:
        seen.append(Run.objects.count())
        return 0, 0

    monkeypatch.setattr("portal.pipelines.dispatch._slots", slots)
    clock.move(minutes=1)
    firing.schedules_fire()
    assert seen == [firing.BATCH + 1]


def test_what_waits_for_its_turn_is_not_missed(clock: Clock, scheduled: ScheduleMaker) -> None:
    """A thousand others were due in the same second, and the machine is busy."""
    schedule = scheduled("0 * * * *")
    clock.set(2026, 11, 21, 13, 0, 1)
    asked = clock.now
    clock.move(minutes=5)
    firing.schedules_fire(as_of=asked)
    assert fires(schedule) == [("13:00:00", "fired")]


def test_workers_that_were_away_for_long_have_missed_it(clock: Clock, scheduled: ScheduleMaker) -> None:
    schedule = scheduled("0 * * * *")
    clock.set(2026, 11, 21, 13, 0, 1)
    asked = clock.now
    clock.move(minutes=30)
    firing.schedules_fire(as_of=asked)
    assert fires(schedule) == [("13:00:00", "missed")]
