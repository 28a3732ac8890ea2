"""Which messages may wait for a slot, and which go back because it is not free in time."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from agents.orca_agent.elsewhere import TAKEN_AT
from agents.orca_agent.orders import Task
from tests.unit.agents.orca_agent.work_bench import Bench, bench, task

__all__ = ["bench"]


def usual(bench: Bench, seconds: float) -> Task:
    """A task of a script that is known to take so long."""
    one = task()
    one = replace(one, script=replace(one.script, sha256=f"{seconds:064.0f}"))
    bench.work._around.pace.ended(one.script.sha256, seconds)
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
    waiting, often = task(), task()
    bench.accept(waiting, name="w")
    bench.accept(often, name="often", receives=TAKEN_AT)
    for bench.now in (29.9, 40.0):  # the other slot is thought to be free before long
        bench.work.give_back_overdue()
    assert bench.queue.visibility == []
    bench.now = 70.0
    bench.work.give_back_overdue()
    assert bench.queue.visibility == [("receipt-w", 0)]
    assert {one.step for one in bench.work.running()} == {one.step for one in (*running, often)}
    bench.released |= {one.step for one in (*running, often)}
    assert bench.work.wait_idle(10)
    assert waiting.step not in bench.begun
    assert often.step in bench.begun


def test_while_a_slot_is_free_nothing_goes_back(bench: Bench) -> None:
    bench.accept(task(), name="m")
    bench.now = 1_000.0
    bench.work.give_back_overdue()
    assert bench.queue.visibility == []
