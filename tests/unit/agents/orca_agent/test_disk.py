"""What must not be lost waits for room on a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from agents.orca_agent import disk
from agents.orca_agent.ended import Ended
from agents.orca_agent.ids import new_id
from agents.orca_agent.journal import Guard, Journal, Record, StepKey
from agents.orca_agent.spool import Spool

KEY = StepKey(new_id(), new_id(), 1)


class FullDisk:
    """Takes part of the first write, none of the next, and then has room again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.coming = ["part", "none"]
        self._write = os.pwrite
        monkeypatch.setattr("os.pwrite", self.pwrite)
        monkeypatch.setattr(disk, "AGAIN_AFTER", 0.01)

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        state = self.coming.pop(0) if self.coming else "room"
        if state == "none":
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._write(descriptor, data[:3] if state == "part" else data, offset)


def test_an_event_is_kept_whole_when_there_is_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)
    full = FullDisk(monkeypatch)
    spool.append("an event")
    assert full.coming == []
    assert spool.peek(100) == ["an event"]
    spool.close()


def test_an_end_is_remembered_when_there_is_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = Ended(tmp_path)
    full = FullDisk(monkeypatch)
    ended.add(KEY)
    assert full.coming == []
    assert KEY in Ended(tmp_path)


def test_a_guard_is_noted_when_there_is_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, record = Journal(tmp_path), Record("m", "r", "machine", (KEY,))
    journal.write(record)
    full = FullDisk(monkeypatch)
    journal.guard(record, KEY.step, Guard(7, 8, 9))
    assert full.coming == []
    assert journal.read_all()[0].guards == {KEY.step: Guard(7, 8, 9)}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_it_does_not_wait_for_ever_and_for_nothing_else(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def refuse() -> None:
        raise OSError(number, "no")

    def pause(seconds: float) -> None:
        now[0] += seconds

    with pytest.raises(OSError, match="no"):
        disk.patiently(refuse, pause=pause)
    assert (now[0] > disk.LONGEST_WAIT) is (number == errno.ENOSPC)
