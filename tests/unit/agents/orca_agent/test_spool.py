"""Events wait on disk until they are confirmed, whatever happens to the process."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agents.orca_agent import spool
from agents.orca_agent.spool import Spool

LINES = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=40)


def test_what_was_not_confirmed_is_there_after_a_crash(tmp_path: Path) -> None:
    first = Spool(tmp_path)
    for line in ("one", "zwei ü\u2028", "three"):
        first.append(line)
    first.confirm(first.peek(1000)[:1])
    again = Spool(tmp_path)
    assert again.peek(1000) == ["zwei ü\u2028", "three"]
    assert again.waiting == len("zwei ü\u2028\nthree\n".encode())


def test_a_half_written_line_is_dropped(tmp_path: Path) -> None:
    Spool(tmp_path).append("whole")
    with (tmp_path / "events").open("ab") as file:
        file.write(b'{"half')
    again = Spool(tmp_path)
    again.append("next")
    assert again.peek(1000) == ["whole", "next"]


@pytest.mark.parametrize("noted", [b"", b"garbage\n", b"99999\n"])
def test_a_broken_offset_sends_too_much_rather_than_too_little(tmp_path: Path, noted: bytes) -> None:
    Spool(tmp_path).append("whole")
    (tmp_path / "events.offset").write_bytes(noted)
    assert Spool(tmp_path).peek(1000) == ["whole"]


def test_reading_is_bounded_but_never_stuck(tmp_path: Path) -> None:
    waiting = Spool(tmp_path)
    waiting.append("x" * 600_000)
    waiting.append("y")
    assert waiting.peek(10)[0] == "x" * 600_000


def test_the_file_shrinks_when_all_is_confirmed(tmp_path: Path) -> None:
    waiting = Spool(tmp_path)
    waiting.append("x" * (spool.SHRINK_AT + 1))
    waiting.confirm(waiting.peek(10))
    assert (tmp_path / "events").stat().st_size == 0
    waiting.append("after")
    assert Spool(tmp_path).peek(1000) == ["after"]


@settings(deadline=None, max_examples=50)
@given(st.lists(LINES), st.integers(1, 50))
def test_all_lines_come_out_in_order(tmp_path_factory: pytest.TempPathFactory, lines: list[str], limit: int) -> None:
    waiting = Spool(tmp_path_factory.mktemp("spool"))
    for line in lines:
        waiting.append(line)
    found = []
    while waiting.waiting:
        some = waiting.peek(limit)
        assert some
        found += some
        waiting.confirm(some)
    assert found == lines


class SpoolMachine(RuleBasedStateMachine):
    """Whatever is appended, confirmed and re-opened: what waits is what a list would hold."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.model: list[str] = []
        self.spool = Spool(Path(self.folder.name))

    @rule(line=LINES)
    def append(self, line: str) -> None:
        self.spool.append(line)
        self.model.append(line)

    @rule(count=st.integers(0, 5))
    def confirm(self, count: int) -> None:
        some = self.spool.peek(10_000)[:count]
        self.spool.confirm(some)
        del self.model[: len(some)]

    @rule()
    def crash(self) -> None:
        self.spool = Spool(Path(self.folder.name))

    @invariant()
    def same(self) -> None:
        if hasattr(self, "spool"):
            assert self.spool.peek(10_000_000) == self.model

    def teardown(self) -> None:
        self.folder.cleanup()


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(deadline=None, max_examples=30, stateful_step_count=30)
