"""The log is numbered without gaps, bounded, and the same on its way and in its file."""

from __future__ import annotations

import io
from typing import Any

from agents.orca_agent.events import StepLog
from agents.orca_agent.orders import Limits
from agents.orca_agent.protocol import MAX_ENVELOPE_BYTES, sign_envelope
from agents.orca_agent.steps.log import FLUSH_AFTER, StepLogger
from tests.unit.agents.orca_agent.doubles import WORKSPACE, any_script, task_of


class Book:
    """A logger with what came out of it."""

    def __init__(self, **task: Any) -> None:
        self.now = 1_790_000_000.25
        self.file = io.BytesIO()
        self.events: list[StepLog] = []
        self.log = StepLogger(task_of(any_script(), **task), self.file, self.events.append, "boot", lambda: self.now)

    def texts(self) -> list[str]:
        return [line.text for event in self.events for line in event.lines]


def test_lines_are_numbered_from_one_without_gaps() -> None:
    book = Book()
    for number in range(2500):
        book.log.write("out", f"{number}\n".encode())
    book.log.finish("key")
    assert book.texts() == [str(number) for number in range(2500)]
    assert {event.boot_id for event in book.events} == {"boot"}
    expected = 1
    for event in book.events:
        assert event.first == expected
        expected += len(event.lines)


def test_what_waits_is_due_after_a_moment() -> None:
    book = Book()
    assert book.log.due() == float("inf")
    book.log.write("out", b"no end of line yet")
    assert book.log.due() == float("inf")
    book.log.write("out", b"\n")
    assert 0 < book.log.due() <= FLUSH_AFTER
    book.now += FLUSH_AFTER
    assert book.log.due() == 0
    book.log.flush()
    assert book.texts() == ["no end of line yet"]
    assert book.log.due() == float("inf")


def test_the_file_has_time_stream_and_text() -> None:
    book = Book()
    book.log.write("err", "größe\n".encode())
    book.log.say("the agent's own")
    summary = book.log.finish("key")
    assert book.file.getvalue().decode() == (
        "2026-09-21T14:13:20.250Z err größe\n2026-09-21T14:13:20.250Z orca the agent's own\n"
    )
    assert (summary.lines, summary.bytes) == (2, len(book.file.getvalue()))
    assert (summary.truncated, summary.key) == (False, "key")


def test_after_the_limit_lines_are_counted_and_dropped() -> None:
    book = Book(limits=Limits(log_mb=1))
    for _ in range(3000):
        book.log.write("out", b"x" * 999 + b"\n")
    book.log.write("err", b"one more\n")
    summary = book.log.finish("key")
    kept = sum(text.startswith("x") for text in book.texts())
    assert summary.truncated
    assert 1000 < kept < 1048
    assert book.texts()[-1].startswith(f"The log was full: {3001 - kept} more lines (")
    assert book.texts()[kept] == "The log has reached its limit of 1 MB; the rest is dropped."
    assert len(book.file.getvalue()) == summary.bytes < 1_100_000


def test_a_log_that_is_just_full_lost_nothing() -> None:
    book = Book(limits=Limits(log_mb=0))
    summary = book.log.finish("key")
    assert (summary.truncated, summary.lines) == (False, 0)


def test_no_line_makes_an_event_that_an_envelope_cannot_hold() -> None:
    book = Book()
    for _ in range(40):
        book.log.write("out", b"\x01" * 8192 + b"\n")
    book.log.say("\x02" * 100_000)
    book.log.finish("key")
    for event in book.events:
        body = sign_envelope(WORKSPACE, "i-1", [event], b"k", sent_at=1.0)
        assert len(body.encode()) <= MAX_ENVELOPE_BYTES


def test_secrets_are_masked_in_what_the_agent_says() -> None:
    book = Book()
    book.log.hide(["hunter22"])
    book.log.say("pip says hunter22")
    book.log.finish("key")
    assert book.texts() == ["pip says ***"]
