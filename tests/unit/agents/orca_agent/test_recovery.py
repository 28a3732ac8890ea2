"""What a killed agent has left running and lying about is found and ended."""

from __future__ import annotations

import subprocess
from pathlib import Path

from agents.orca_agent.ended import Ended
from agents.orca_agent.events import Event, StepFinished
from agents.orca_agent.ids import new_id
from agents.orca_agent.journal import Guard, Journal, Record, StepKey, this_machine
from agents.orca_agent.layout import Layout
from agents.orca_agent.recovery import end_leftovers, return_messages
from agents.orca_agent.steps import processes
from tests.unit.agents.orca_agent.doubles import MemoryQueue


def key() -> StepKey:
    return StepKey(new_id(), new_id(), 1)


def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.create()
    return made


def leave_a_step(journal: Journal, machine: str) -> subprocess.Popen[bytes]:
    """A session that goes on although its warden is dead, with a record of it."""
    script = "sleep 600 & exec sleep 600"
    process = subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True)
    step = key()
    guard = Guard(2**22 - 1, 1, process.pid)
    journal.write(Record(new_id(), "receipt", machine, (step,), guards={step.step: guard}))
    return process


def session_of(pid: int) -> list[int]:
    return [p.pid for p in processes.everything() if p.session == pid and not p.zombie]


def test_processes_of_dead_wardens_are_killed_and_folders_removed(tmp_path: Path) -> None:
    place = layout(tmp_path)
    (place.work / "old/script").mkdir(parents=True)
    process = leave_a_step(Journal(place.journal), this_machine())
    assert len(end_leftovers(Journal(place.journal), place)) == 1
    assert process.wait(10) == -9
    assert session_of(process.pid) == []
    assert list(place.work.iterdir()) == []


def test_processes_of_another_boot_are_let_be(tmp_path: Path) -> None:
    place = layout(tmp_path)
    process = leave_a_step(Journal(place.journal), "another boot")
    try:
        assert len(end_leftovers(Journal(place.journal), place)) == 1
        assert process.poll() is None
    finally:
        processes.end_all(lambda: [p for p in processes.everything() if p.session == process.pid], lambda: None)
        process.wait()


def test_messages_are_returned_and_forgotten(tmp_path: Path) -> None:
    journal, queue = Journal(tmp_path), MemoryQueue()
    record = Record("m", "receipt", "machine", (key(),))
    journal.write(record)
    return_messages([record], journal, queue, Ended(tmp_path), lambda event: None)
    assert (queue.visibility, journal.read_all()) == ([("receipt", 0)], [])


def test_a_queue_that_fails_does_not_stop_the_start(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    record = Record("m", "receipt", "machine", (key(),))
    journal.write(record)
    return_messages([record], journal, MemoryQueue(fail=True), Ended(tmp_path), lambda event: None)
    assert journal.read_all() == []


def test_acknowledged_steps_that_had_not_ended_are_told_as_lost(tmp_path: Path) -> None:
    journal, queue, ended = Journal(tmp_path), MemoryQueue(), Ended(tmp_path)
    events: list[Event] = []
    lost, done = key(), key()
    ended.add(done)
    record = Record("m", "receipt", "machine", (lost, done), acknowledged=True)
    journal.write(record)
    return_messages([record], journal, queue, ended, events.append)
    assert len(events) == 1
    assert isinstance(events[0], StepFinished)
    assert (events[0].step, events[0].state) == (lost.step, "lost")
    assert (queue.visibility, journal.read_all()) == ([], [])
