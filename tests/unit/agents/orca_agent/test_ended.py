"""Attempts that have ended are remembered across restarts, the latest of them, whatever the crash."""

from __future__ import annotations

from pathlib import Path

from agents.orca_agent.ended import Ended
from agents.orca_agent.ids import new_id
from agents.orca_agent.journal import StepKey


def key(attempt: int = 1) -> StepKey:
    return StepKey(new_id(), new_id(), attempt)


def test_what_has_ended_is_known_after_a_restart(tmp_path: Path) -> None:
    one = key()
    Ended(tmp_path).add(one)
    again = Ended(tmp_path)
    assert one in again
    assert StepKey(one.run, one.step, 2) not in again


def test_a_torn_line_is_forgotten_and_does_no_harm(tmp_path: Path) -> None:
    one, other = key(), key()
    Ended(tmp_path).add(one)
    with (tmp_path / "ended").open("a") as file:
        file.write(f"{other.run} ")
    again = Ended(tmp_path)
    again.add(other)
    assert one in Ended(tmp_path)
    assert other in Ended(tmp_path)


def test_only_the_latest_are_kept_and_the_file_does_not_grow(tmp_path: Path) -> None:
    ended, keys = Ended(tmp_path, kept=3), [key() for _ in range(20)]
    for one in keys:
        ended.add(one)
    assert [one in ended for one in keys] == [False] * 17 + [True] * 3
    assert (tmp_path / "ended").read_text().count("\n") <= 7
    assert [one in Ended(tmp_path, kept=3) for one in keys] == [False] * 17 + [True] * 3
