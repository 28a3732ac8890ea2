"""Whatever a program prints, in whatever pieces it arrives, becomes lines that can be shown."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.orca_agent.events import MAX_LINE
from agents.orca_agent.steps.lines import LineSplitter
from agents.orca_agent.steps.masking import Masker

NOTHING = Masker([])


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def split(pieces: list[bytes], masker: Masker = NOTHING) -> list[str]:
    splitter = LineSplitter(masker, Clock())
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    return lines + splitter.finish()


@pytest.mark.parametrize(
    ("printed", "lines"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"\n\n", ["", ""]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b" 10%\r 20%\r100%\n", ["100%"]),
        (b"\xff\xfe\n", ["\ufffd\ufffd"]),
        (b"a\0b\n", ["a\ufffdb"]),
        ("\u2028 ü\n".encode(), ["\u2028 ü"]),
    ],
)
def test_lines(printed: bytes, lines: list[str]) -> None:
    assert split([printed]) == lines


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=30)), st.data())
def test_where_the_pieces_are_cut_does_not_matter(lines: list[str], data: st.DataObject) -> None:
    printed = "".join(f"{line}\n" for line in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(printed)), max_size=8)))
    edges = [0, *cuts, len(printed)]
    pieces = [printed[start:end] for start, end in itertools.pairwise(edges)]
    assert split(pieces) == lines


@settings(deadline=None, max_examples=50)
@given(st.text("aü€\U0001f40b", min_size=1, max_size=20), st.integers(1, 9000), st.integers(100, 20_000))
def test_a_long_line_is_cut_between_characters(part: str, count: int, size: int) -> None:
    line = part * count
    printed = line.encode()
    found = split([printed[start : start + size] for start in range(0, len(printed), size)])
    assert "".join(found) == line
    assert all(len(part.encode()) <= MAX_LINE for part in found)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 60), st.integers(30, 5000), st.integers(0, 3))
def test_a_secret_is_masked_wherever_a_long_line_is_cut(before: int, size: int, lines: int) -> None:
    secret = "sëcret-" + "0123456789" * 4
    printed = ("x" * (MAX_LINE - 20 + before) + secret + "y" * MAX_LINE * lines).encode()
    found = split([printed[s : s + size] for s in range(0, len(printed), size)], Masker([secret]))
    assert "".join(found) == "x" * (MAX_LINE - 20 + before) + "***" + "y" * MAX_LINE * lines


def test_of_a_line_that_is_drawn_over_one_state_a_second_is_kept() -> None:
    clock = Clock()
    splitter = LineSplitter(NOTHING, clock)
    shown = []
    for step in range(40):
        clock.now = 100 + step / 10
        shown += splitter.feed(f"\r{step}%".encode())
    shown += splitter.feed(b"\rdone\n")
    assert 4 <= len(shown) <= 6
    assert shown[-1] == "done"
    assert shown == sorted(set(shown), key=shown.index)


def test_a_return_at_the_end_of_a_piece_may_belong_to_a_line_end() -> None:
    assert split([b"one\r", b"\ntwo\r", b"\n"]) == ["one", "two"]
