"""A log gives back every record that was whole when the process died, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.local_cloud.state.record_log import RecordLog


def test_records_come_back_in_order(tmp_path: Path) -> None:
    log = RecordLog(tmp_path / "deep" / "log")
    records = [b"", b"one", b"x" * 100_000]
    for record in records:
        log.append(record)
    assert list(RecordLog(tmp_path / "deep" / "log").read()) == records


@pytest.mark.parametrize("cut", [1, 3, 8, 10])
def test_a_record_that_was_cut_short_ends_the_log_and_the_next_one_takes_its_place(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "log"
    log = RecordLog(path)
    log.append(b"whole")
    log.append(b"torn")
    path.write_bytes(path.read_bytes()[:-cut])
    again = RecordLog(path)
    assert list(again.read()) == [b"whole"]
    again.append(b"next")
    assert list(RecordLog(path).read()) == [b"whole", b"next"]


def test_a_damaged_record_ends_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = RecordLog(path)
    log.append(b"first")
    log.append(b"second")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert list(RecordLog(path).read()) == [b"first"]


def test_a_rewrite_takes_the_place_of_everything_and_appending_goes_on(tmp_path: Path) -> None:
    log = RecordLog(tmp_path / "log")
    for number in range(100):
        log.append(str(number).encode())
    log.rewrite([b"all"])
    log.append(b"more")
    assert list(RecordLog(tmp_path / "log").read()) == [b"all", b"more"]
    assert log.size == (tmp_path / "log").stat().st_size


def test_a_deleted_log_is_empty_and_may_be_used_again(tmp_path: Path) -> None:
    log = RecordLog(tmp_path / "log")
    log.append(b"old")
    log.delete()
    assert list(log.read()) == []
    log.append(b"new")
    assert list(RecordLog(tmp_path / "log").read()) == [b"new"]
