"""A step that should not run on this instance is left to others, as long as that has a chance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.orca_agent.elsewhere import TAKEN_AT
from agents.orca_agent.orders import Task
from tests.unit.agents.orca_agent.doubles import any_script, task_of
from tests.unit.agents.orca_agent.test_work import HERE, Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(tmp_path, monkeypatch)
    yield made
    made.work.hand_back_running(0.0)
    assert made.work.wait_idle(10)


def task(**more: Any) -> Task:
    return task_of(any_script(), **more)


def test_what_should_run_elsewhere_goes_back_for_longer_each_time(bench: Bench) -> None:
    twin = task(avoid=("i-0else", HERE))
    for receives in range(1, TAKEN_AT):
        bench.accept(twin, name="m", receives=receives)
    pauses = [seconds for receipt, seconds in bench.queue.visibility if receipt == "receipt-m"]
    assert len(pauses) == TAKEN_AT - 1
    assert all(low <= found <= 2 * low for found, low in zip(pauses, (1, 2, 4, 8, 8), strict=True))
    assert (bench.begun, bench.events, bench.queue.deleted) == ([], [], [])
    assert (bench.journal.read_all(), bench.work.running(), bench.work.idle) == ([], (), True)
    assert bench.work.free_slots(0) == 2


def test_what_nobody_else_takes_is_done_here(bench: Bench) -> None:
    twin = task(avoid=(HERE,))
    bench.released.add(twin.step)
    bench.accept(twin, name="m", receives=TAKEN_AT)
    bench.wait(lambda: bench.queue.deleted == ["receipt-m"])
    assert (bench.begun, bench.queue.visibility) == ([twin.step], [])


def test_what_should_run_elsewhere_than_on_another_instance_is_done_here(bench: Bench) -> None:
    twin = task(avoid=("i-0else",))
    bench.accept(twin)
    bench.wait(lambda: bench.begun == [twin.step])


def test_a_pack_goes_back_as_a_whole(bench: Bench) -> None:
    bench.accept(task(), task(avoid=(HERE,)), name="m")
    assert [receipt for receipt, _ in bench.queue.visibility] == ["receipt-m"]
    assert (bench.begun, bench.work.idle) == ([], True)


def test_that_it_is_not_wanted_any_more_can_be_said_anywhere(bench: Bench) -> None:
    twin = task(avoid=(HERE,))
    bench.work.cancel(frozenset({twin.step}))
    bench.accept(twin, name="m")
    bench.wait(lambda: bench.ended() == {twin.step: "cancelled"})
    bench.wait(lambda: bench.queue.deleted == ["receipt-m"])
    assert (bench.begun, bench.queue.visibility) == ([], [])


def test_in_hand_already_it_only_renews_its_receipt(bench: Bench) -> None:
    twin = task(avoid=(HERE,))
    bench.accept(twin, name="m", receives=TAKEN_AT)
    bench.accept(twin, name="m", receives=1)
    assert bench.queue.visibility == []
