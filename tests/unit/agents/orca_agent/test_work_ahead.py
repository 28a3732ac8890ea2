"""Which messages may wait for a slot, and which go back because it is not free in time."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from agents.orca_agent.deliveries import LAST_TO_GO_BACK
from agents.orca_agent.elsewhere import TAKEN_AT
from agents.orca_agent.events import StepReturned
from agents.orca_agent.orders import Task
from agents.orca_agent.pace import LEAD, PATIENCE
from tests.unit.agents.orca_agent.work_bench import Bench, bench, task

__all__ = ["bench"]


def usual(bench: Bench, seconds: float) -> Task:
    """A task of a script that is known to take so long."""
    one = task()
    one = replace(one, script=replace(one.script, sha256=f"{seconds:064.0f}"))
    bench.around.pace.ended(one.script.sha256, seconds)
    return one


def test_the_next_may_come_shortly_before_a_step_is_likely_to_end(bench: Bench) -> None:
    bench.accept(usual(bench, 30.0), usual(bench, 60.0))
    bench.wait(lambda: len(bench.begun) == 2)
    free = []
    for bench.now in (29.0, 29.8, 31.9, 32.1, 59.8, 62.1):
        free.append(bench.work.free_slots(0))
    assert free == [0, 1, 1, 0, 1, 0]
    bench.now = 29.8
    bench.accept(task())
    assert bench.work.free_slots(0) == 0


def test_who_waits_for_a_slot_is_woken_when_one_is_nearly_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, monkeypatch, slots=1, clock=time.monotonic)
    bench.accept(usual(bench, 1.5))
    began = time.monotonic()
    assert bench.work.free_slots(10) == 1
    assert 1.0 < time.monotonic() - began < 3.0
    assert bench.work.longest_wait(20) == 2
    bench.work.hand_back_running(0.0)
    assert bench.work.wait_idle(10)
    assert (bench.work.longest_wait(20), bench.work.longest_wait(0)) == (20, 0)


def test_what_waits_behind_steps_that_take_too_long_goes_back(bench: Bench) -> None:
    running = [usual(bench, 30.0), usual(bench, 60.0)]
    bench.accept(*running)
    bench.wait(lambda: len(bench.begun) == 2)
    first, later, often = task(), task(), task()
    bench.accept(first, name="first")
    bench.accept(later, name="later")
    bench.accept(often, name="often", receives=TAKEN_AT)
    bench.now = 31.0  # one of both is thought to be over soon
    bench.work.give_back_overdue()
    bench.wait(lambda: bench.queue.visibility == [("receipt-later", 0)])
    bench.now = 33.0
    bench.work.give_back_overdue()
    bench.wait(lambda: bench.queue.visibility == [("receipt-later", 0), ("receipt-first", 0)])
    held = {one.step for one in (*running, often)}
    assert {one.step for one in bench.work.running()} == held
    bench.released |= held
    assert bench.work.wait_idle(10)
    assert set(bench.begun) == held


def test_a_bounded_step_goes_back_only_as_often_as_the_portal_bears(bench: Bench) -> None:
    bench.accept(usual(bench, 30.0), usual(bench, 30.0))
    bench.wait(lambda: len(bench.begun) == 2)
    early, late = replace(task(), once=True), replace(task(), once=True, attempt=LAST_TO_GO_BACK + 1)
    bench.accept(late, name="late")
    bench.accept(early, name="early")
    bench.now = 100.0
    bench.work.give_back_overdue()
    bench.wait(lambda: bench.queue.visibility == [("receipt-early", 0)])


def test_a_pack_of_which_a_part_is_told_stays(bench: Bench) -> None:
    bench.accept(usual(bench, 30.0), usual(bench, 30.0))
    bench.wait(lambda: len(bench.begun) == 2)
    gone, waits = task(), task()
    bench.accept(gone, waits, name="pack")
    bench.work.cancel(frozenset({gone.step}))
    bench.now = 100.0
    bench.work.give_back_overdue()
    assert len(bench.work.running()) == 3
    assert bench.queue.visibility == []


def test_only_what_has_run_to_its_end_tells_how_long_steps_take(bench: Bench) -> None:
    long = usual(bench, 30.0)
    bench.accept(long, replace(long, step=task().step))
    bench.wait(lambda: len(bench.begun) == 2)
    bench.work.cancel(frozenset({long.step}))
    bench.wait(lambda: long.step in bench.ended())
    bench.accept(replace(long, step=task().step, once=True), receives=2)
    bench.wait(lambda: any(isinstance(event, StepReturned) for event in bench.events))
    bench.wait(lambda: len(bench.work.running()) == 1)
    assert bench.around.pace.window(long.script.sha256) == (30.0 - LEAD, 30.0 + PATIENCE)
    assert not bench.around.pace.short


def test_while_a_slot_is_free_nothing_goes_back(bench: Bench) -> None:
    bench.accept(task(), name="m")
    bench.now = 1_000.0
    bench.work.give_back_overdue()
    assert bench.queue.visibility == []
