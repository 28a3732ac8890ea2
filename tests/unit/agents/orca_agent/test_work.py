"""Which steps are in hand, and what becomes of their messages."""

from __future__ import annotations

import errno
import functools
import threading
from dataclasses import replace
from typing import Any

import pytest

from agents.orca_agent import work as work_module
from agents.orca_agent.cloud.queue import Message
from agents.orca_agent.events import StepFinished, StepReturned
from agents.orca_agent.orders import Task, tasks_body
from agents.orca_agent.steps.control import StepControl
from agents.orca_agent.steps.surroundings import Surroundings
from agents.orca_agent.work import ACKNOWLEDGE_AFTER, FIRST_RENEWAL, RENEW_EVERY, VISIBILITY
from tests.unit.agents.orca_agent.work_bench import Bench, bench, task

__all__ = ["bench"]


def test_what_may_be_begun_once_goes_back_to_the_portal_where_it_was_handed_out_before(bench: Bench) -> None:
    bounded, other = replace(task(), once=True), task()
    bench.released |= {bounded.step, other.step}
    message = bench.accept(bounded, receives=2)
    bench.wait(lambda: bench.queue.deleted == [message.receipt])
    [told] = bench.events
    assert isinstance(told, StepReturned)
    assert (told.run, told.step, told.attempt) == (bounded.run, bounded.step, bounded.attempt)
    bench.accept(other, receives=2)
    bench.accept(replace(bounded, attempt=2))
    bench.wait(lambda: set(bench.ended()) == {bounded.step, other.step})
    assert sorted(bench.begun) == sorted([bounded.step, other.step])


def test_what_has_ended_is_not_given_back_when_its_message_comes_again(bench: Bench) -> None:
    bounded = replace(task(), once=True)
    bench.released.add(bounded.step)
    bench.accept(bounded)
    bench.wait(lambda: bounded.step in bench.ended() and bench.work.idle)
    message = bench.accept(bounded, receives=2)
    bench.wait(lambda: message.receipt in bench.queue.deleted)
    assert not [event for event in bench.events if isinstance(event, StepReturned)]


def test_no_more_run_than_there_are_slots(bench: Bench) -> None:
    tasks = [task() for _ in range(5)]
    message = bench.accept(*tasks)
    bench.wait(lambda: len(bench.begun) == 2)
    assert bench.work.free_slots(0) == 0
    assert len(bench.work.running()) == 5
    for one in tasks:
        bench.wait(functools.partial(lambda step: step in bench.begun, one.step))
        bench.released.add(one.step)
    assert bench.work.wait_idle(10)
    bench.wait(lambda: bench.queue.deleted == [message.receipt])
    assert set(bench.begun[:2]) == {one.step for one in tasks[:2]}
    assert sorted(bench.begun) == sorted(one.step for one in tasks)
    bench.wait(lambda: bench.journal.read_all() == [])
    assert bench.work.free_slots(0) == 4  # they were short, so as many again may wait


def test_a_message_goes_only_when_all_its_tasks_have_ended(bench: Bench) -> None:
    first, second = task(), task()
    bench.accept(first, second)
    bench.released.add(first.step)
    bench.wait(lambda: first.step in bench.ended())
    assert bench.queue.deleted == []
    assert len(bench.journal.read_all()) == 1
    bench.released.add(second.step)
    bench.wait(lambda: len(bench.queue.deleted) == 1)


def test_the_journal_knows_the_processes(bench: Bench) -> None:
    one = task()
    message = bench.accept(one)
    bench.wait(lambda: bool(bench.journal.read_all()[0].guards))
    (record,) = bench.journal.read_all()
    assert (record.message, record.receipt) == (message.id, message.receipt)
    assert record.guards[one.step].pid == 2**22 - 1


def test_messages_are_held_and_renewed_in_time(bench: Bench) -> None:
    message = bench.accept(task())
    bench.work.renew()
    assert bench.queue.visibility == []
    bench.now = FIRST_RENEWAL
    bench.work.renew()
    bench.work.renew()
    bench.now += RENEW_EVERY
    bench.work.renew()
    assert bench.queue.visibility == [(message.receipt, VISIBILITY)] * 2


def test_a_renewal_that_fails_is_tried_again_soon(bench: Bench) -> None:
    message = bench.accept(task())
    bench.now = FIRST_RENEWAL
    bench.queue.fail = True
    bench.work.renew()
    bench.queue.fail = False
    bench.work.renew()
    assert bench.queue.visibility == [(message.receipt, VISIBILITY)]


def test_a_message_that_no_queue_can_hold_longer_is_acknowledged_once(bench: Bench) -> None:
    one = task()
    message = bench.accept(one)
    bench.now = ACKNOWLEDGE_AFTER + 1
    bench.work.renew()
    bench.now += RENEW_EVERY
    bench.work.renew()
    assert bench.queue.deleted == [message.receipt]
    assert bench.journal.read_all()[0].acknowledged
    bench.released.add(one.step)
    assert bench.work.wait_idle(10)
    bench.wait(lambda: bench.journal.read_all() == [])
    assert bench.queue.deleted == [message.receipt]
    assert (bench.ended(), bench.queue.visibility) == ({one.step: "completed"}, [])


def test_an_acknowledged_step_that_must_stop_is_told_as_lost(bench: Bench) -> None:
    one = task()
    bench.accept(one)
    bench.wait(lambda: bool(bench.begun))
    bench.now = ACKNOWLEDGE_AFTER + 1
    bench.work.renew()
    bench.work.hand_back_running(0.0)
    assert bench.work.wait_idle(10)
    bench.wait(lambda: bool(bench.events))
    (event,) = bench.events
    assert isinstance(event, StepFinished)
    assert event.state == "lost"


def test_the_same_message_again_only_renews_its_receipt(bench: Bench) -> None:
    one = task()
    bench.accept(one, name="m")
    bench.work.accept(Message("m", "newer", tasks_body([one]), 2))
    bench.released.add(one.step)
    bench.wait(lambda: bench.queue.deleted == ["newer"])
    assert bench.begun == [one.step]


def test_another_message_with_the_same_step_is_no_second_run(bench: Bench) -> None:
    one = task()
    bench.accept(one, name="m")
    bench.accept(one, name="n")
    assert bench.queue.deleted == ["receipt-n"]
    bench.released.add(one.step)
    bench.wait(lambda: bench.queue.deleted == ["receipt-n", "receipt-m"])
    assert bench.begun == [one.step]


def test_cancelled_steps_stop_or_never_start(bench: Bench) -> None:
    running, waiting, later = [task(), task()], task(), task()
    bench.accept(*running)
    bench.wait(lambda: len(bench.begun) == 2)
    bench.accept(waiting)
    bench.work.cancel(frozenset({running[0].step, waiting.step, later.step}))
    bench.wait(lambda: len(bench.ended()) == 2)
    bench.accept(later)
    bench.wait(lambda: len(bench.ended()) == 3)
    assert bench.ended()[waiting.step] == bench.ended()[later.step] == "cancelled"
    assert set(bench.begun) == {one.step for one in running}
    assert running[1].step not in bench.ended()


def test_draining_gives_back_what_has_not_started(bench: Bench) -> None:
    running = [task(), task()]
    bench.accept(*running)
    bench.wait(lambda: len(bench.begun) == 2)
    waiting = task()
    bench.accept(waiting, name="w")
    assert bench.work.stop_accepting() == [waiting.step]
    assert bench.queue.visibility == [("receipt-w", 0)]
    late = task()
    bench.accept(late, name="late")
    assert bench.queue.visibility[1:] == [("receipt-late", 0)]
    assert bench.work.free_slots(0) == 0
    bench.work.resume_accepting()
    bench.released.update(one.step for one in running)
    bench.wait(lambda: bench.work.free_slots(0) == 4)
    assert set(bench.ended()) == {one.step for one in running}


def test_handing_back_ends_all_and_says_nothing(bench: Bench) -> None:
    tasks = [task() for _ in range(3)]
    bench.accept(*tasks, name="m")
    bench.wait(lambda: len(bench.begun) == 2)
    assert sorted(bench.work.hand_back_running(0.0)) == sorted(one.step for one in tasks)
    assert bench.work.wait_idle(10)
    bench.wait(lambda: bench.queue.visibility == [("receipt-m", 0)])
    assert (bench.events, bench.queue.deleted, len(bench.begun)) == ([], [], 2)


@pytest.mark.parametrize("receives", [1, 2])
def test_a_step_that_has_ended_does_not_run_again(bench: Bench, receives: int) -> None:
    one, other = task(), task()
    bench.released |= {one.step, other.step}
    bench.accept(one, name="m")
    bench.wait(lambda: bench.queue.deleted == ["receipt-m"])
    bench.accept(one, other, name="n", receives=receives)
    bench.wait(lambda: bench.queue.deleted == ["receipt-m", "receipt-n"])
    assert bench.begun == [one.step, other.step]
    assert [event.step for event in bench.events if isinstance(event, StepFinished)] == [one.step, other.step]


def test_a_message_that_cannot_be_read_stays_hidden(bench: Bench) -> None:
    bench.work.accept(Message("m", "r", "{", 1))
    assert (bench.queue.visibility, bench.queue.deleted, bench.journal.read_all()) == ([], [], [])


def test_only_short_steps_wait_on_an_instance_for_a_slot(bench: Bench) -> None:
    long, short = task(), task()
    bench.accept(long)
    bench.wait(lambda: bench.begun == [long.step])
    bench.now = 5.0
    bench.released.add(long.step)
    assert bench.work.wait_idle(10)
    assert bench.work.free_slots(0) == 2
    bench.released.add(short.step)
    bench.accept(short)
    bench.wait(lambda: short.step in bench.ended())
    assert bench.work.wait_idle(10)
    assert bench.work.free_slots(0) == 4


def test_an_error_of_the_agent_is_told_as_such(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(work_module, "run_step", broken)
    one = task()
    bench.accept(one)
    bench.wait(lambda: bench.ended() == {one.step: "agent_failed"})


def test_an_end_that_cannot_even_be_told_gives_the_step_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that is full: neither the log nor the event can be written."""

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(work_module, "run_step", full)
        patch.setattr(work_module, "finish_unstarted", full)
        bench.accept(task(), name="m")
        bench.wait(lambda: bench.queue.visibility == [("receipt-m", 0)])
    assert (bench.events, bench.queue.deleted) == ([], [])
    assert bench.work.free_slots(10) == 2


def test_while_a_step_ends_because_the_disk_is_full_no_other_one_must(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls: list[StepControl] = []
    ends = threading.Event()

    def stays(around: Surroundings, task: Task, control: StepControl, *rest: Any) -> None:
        controls.append(control)
        ends.wait(10)

    monkeypatch.setattr(work_module, "run_step", stays)
    bench.accept(task(), task())
    bench.wait(lambda: len(controls) == 2)
    for _ in range(2):
        bench.work.stop_largest(lambda step, warden: 1, "disk_limit")
    assert sorted(control.reason for control in controls) == ["", "disk_limit"]
    ends.set()


def test_the_largest_step_is_stopped_when_the_disk_is_full(bench: Bench) -> None:
    small, large = task(), task()
    bench.accept(small, large)
    bench.wait(lambda: len(bench.begun) == 2)
    bench.work.stop_largest(lambda step, warden: 10 if step == large.step else 1, "disk_limit")
    bench.wait(lambda: set(bench.ended()) == {large.step})


def test_who_waits_for_a_slot_is_woken_by_closing(bench: Bench) -> None:
    bench.work.stop_accepting()
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(bench.work.free_slots(60)))
    thread.start()
    bench.work.close()
    thread.join(10)
    assert found == [0]
