"""What is in hand survives the agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.orca_agent.ids import new_id
from agents.orca_agent.journal import Guard, Journal, Record, StepKey, this_machine

KEY = StepKey(new_id(), new_id(), 2)


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    record = Record("message/1", "receipt", this_machine(), (KEY,))
    journal.write(record)
    journal.guard(record, KEY.step, Guard(7, 8, 9))
    assert Journal(tmp_path).read_all() == [
        Record("message/1", "receipt", this_machine(), (KEY,), guards={KEY.step: Guard(7, 8, 9)})
    ]
    assert journal.acknowledge(record).acknowledged
    assert Journal(tmp_path).read_all()[0].acknowledged
    journal.remove("message/1")
    journal.remove("message/1")
    assert Journal(tmp_path).read_all() == []


def test_a_guard_does_not_bring_back_a_record_that_has_gone(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    record = Record("m", "r", "machine", (KEY,))
    journal.write(record)
    journal.remove("m")
    journal.guard(record, KEY.step, Guard(7, 8, 9))
    assert journal.read_all() == []


def test_a_torn_last_line_is_forgotten(tmp_path: Path) -> None:
    journal, record = Journal(tmp_path), Record("m", "r", "machine", (KEY,))
    journal.write(record)
    journal.guard(record, KEY.step, Guard(7, 8, 9))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + b'{"acknow')
    (found,) = Journal(tmp_path).read_all()
    assert (found.guards, found.acknowledged) == ({KEY.step: Guard(7, 8, 9)}, False)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"message": 1}', b"\xff"])
def test_a_broken_record_is_removed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.message").write_bytes(content)
    assert Journal(tmp_path).read_all() == []
    assert list(tmp_path.iterdir()) == []
