"""A step that should not run on this instance is left to others, as long as that has a chance."""

from __future__ import annotations

import time
from typing import Any

from agents.orca_agent.cloud.queue import Message
from agents.orca_agent.elsewhere import HEAD_START, TAKEN_AT, HeadStart
from agents.orca_agent.intake import Intake
from agents.orca_agent.orders import Task, tasks_body
from tests.unit.agents.orca_agent.doubles import MemoryQueue, any_script, task_of
from tests.unit.agents.orca_agent.work_bench import HERE, Bench, bench

__all__ = ["bench"]


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


def test_nobody_asks_in_the_moment_in_which_a_message_comes_back() -> None:
    now = 0.0
    others = HeadStart(lambda: now)
    assert (others.pause(), others.longest_wait(20)) == (0.0, 20)
    others.note(5)
    others.note(3)
    now = 0.5
    assert (others.pause(), others.longest_wait(20)) == (0.0, 2)
    now = 2.5
    assert others.pause() == 0.5 + HEAD_START
    now = 3.0 + HEAD_START
    assert (others.pause(), others.longest_wait(20)) == (0.0, 1)
    now = 6.0
    assert (others.pause(), others.longest_wait(20)) == (0.0, 20)


def test_between_two_pauses_messages_are_asked_for() -> None:
    others = HeadStart(lambda: 0.0)
    for _ in range(3):
        others.note(0)
    assert (others.pause(), others.longest_wait(20)) == (HEAD_START, 0)


class Returning(MemoryQueue):
    """Hands out a message until it is given back; notes from when to when it was asked."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.body = body
        self.asked: list[tuple[float, float]] = []

    def receive(self, limit: int, *, wait: int, visibility: int) -> list[Message]:
        began = time.monotonic()
        if self.visibility:
            time.sleep(min(wait, 0.2))
        self.asked.append((began, time.monotonic()))
        return [] if self.visibility else [Message("m", "r", self.body, 1)]


class Noted(HeadStart):
    """Remembers when the message comes back."""

    back = 0.0

    def note(self, seconds: int) -> None:
        self.back = time.monotonic() + seconds
        super().note(seconds)


def test_the_intake_leaves_others_the_moment(bench: Bench) -> None:
    queue, others = Returning(tasks_body([task(avoid=(HERE,))])), Noted(time.monotonic)
    bench.work._queue, bench.work.head_start = queue, others
    intake = Intake(queue, bench.work, lambda: None)
    intake.start()
    bench.wait(lambda: others.back > 0 and queue.asked[-1][0] > others.back)
    intake.close(at_once=True)
    since = others.back + HEAD_START - 0.01
    assert [began for began, ended in queue.asked if ended > others.back and began < since] == []
