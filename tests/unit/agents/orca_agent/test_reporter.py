"""Events arrive, in few calls, however often sending fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from agents.orca_agent import reporter as reporter_module
from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.events import InstanceHeartbeat, LogLine, StepLog, StepStarted
from agents.orca_agent.ids import new_id
from agents.orca_agent.protocol import MAX_ENVELOPE_BYTES, TooLarge, open_envelope, sign_payload
from agents.orca_agent.reporter import Reporter
from agents.orca_agent.spool import Spool
from tests.unit.agents.orca_agent.doubles import WORKSPACE

KEY = b"k" * 32


class Wire:
    """Takes envelopes; ``fails`` are raised first, one a call."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.fails: list[CloudError] = []
        self.refuse: Callable[[str], bool] = lambda body: False
        self.calls = 0
        self.changed = threading.Condition()

    def send(self, body: str) -> None:
        with self.changed:
            self.calls += 1
            self.changed.notify_all()
            if self.fails:
                raise self.fails.pop(0)
            if self.refuse(body):
                raise CloudError("InvalidMessageContents", "bad character", status=400)
            self.bodies.append(body)

    def kinds(self) -> list[str]:
        return [event.kind for body in self.bodies for event in open_envelope(body, lambda w: KEY).events]

    def wait(self, is_so: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(is_so, 10), self.bodies


def sign(texts: Sequence[str]) -> str:
    return sign_payload(WORKSPACE, "i-1", texts, KEY, sent_at=1.0)


def heartbeat() -> InstanceHeartbeat:
    return InstanceHeartbeat(new_id(), 1.0, "boot", 1, (), 0.0, 1, 1)


def started() -> StepStarted:
    return StepStarted(new_id(), 1.0, new_id(), new_id(), 1, "boot")


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def reporter(tmp_path: Path, wire: Wire) -> Iterator[Reporter]:
    made = Reporter(Spool(tmp_path), sign=sign, send=wire.send, heartbeat=heartbeat)
    yield made
    if made._thread.is_alive():
        made.close(0)


def test_what_waits_goes_in_one_call_with_a_heartbeat(reporter: Reporter, wire: Wire) -> None:
    for _ in range(20):
        reporter.emit(started())
    reporter.start()
    wire.wait(lambda: len(wire.bodies) == 1)
    assert wire.kinds() == ["step.started"] * 20 + ["instance.heartbeat"]


def test_a_change_makes_a_heartbeat_go_at_once(reporter: Reporter, wire: Wire) -> None:
    reporter.start()
    wire.wait(lambda: len(wire.bodies) == 1)
    reporter.beat()
    wire.wait(lambda: len(wire.bodies) == 2)
    assert wire.kinds() == ["instance.heartbeat"] * 2


def test_failures_are_tried_again_with_the_same_ids(
    reporter: Reporter, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter_module, "backoff", lambda failures: 0.001)
    wire.fails = [CloudError("Unreachable", "x", retryable=True), CloudError("AccessDenied", "x", status=403)]
    event = started()
    reporter.emit(event)
    reporter.start()
    wire.wait(lambda: len(wire.bodies) == 1)
    assert wire.calls == 3
    assert open_envelope(wire.bodies[0], lambda w: KEY).events[0] == event
    assert wire.kinds() == ["step.started", "instance.heartbeat"]


def test_one_event_that_is_never_taken_does_not_hold_up_the_others(reporter: Reporter, wire: Wire) -> None:
    bad = started()
    wire.refuse = lambda body: bad.step in body
    good = [started(), started()]
    for event in (good[0], bad, good[1]):
        reporter.emit(event)
    reporter.start()
    wire.wait(lambda: wire.kinds().count("step.started") == 2)
    assert reporter.close(5)
    assert bad.step not in "".join(wire.bodies)


def test_no_envelope_is_too_large(reporter: Reporter, wire: Wire) -> None:
    lines = tuple(LogLine("out", 1.0, '\\"' * 4000) for _ in range(2))
    for number in range(20):
        reporter.emit(StepLog(new_id(), 1.0, new_id(), new_id(), 1, number + 1, lines))
    reporter.start()
    wire.wait(lambda: wire.kinds().count("step.log") == 20)
    assert max(len(body.encode()) for body in wire.bodies) <= MAX_ENVELOPE_BYTES
    assert len(wire.bodies) < 20


def test_an_event_that_no_envelope_can_carry_is_dropped(reporter: Reporter, wire: Wire) -> None:
    lines = tuple(LogLine("out", 1.0, "x" * 8000) for _ in range(40))
    huge = StepLog(new_id(), 1.0, new_id(), new_id(), 1, 1, lines)
    with pytest.raises(TooLarge):
        sign([json.dumps(["x" * 300_000])])
    reporter.emit(huge)
    reporter.emit(started())
    reporter.start()
    wire.wait(lambda: "step.started" in wire.kinds())
    assert "step.log" not in wire.kinds()


def test_closing_sends_what_is_left(reporter: Reporter, wire: Wire) -> None:
    reporter.start()
    wire.wait(lambda: len(wire.bodies) == 1)
    reporter.emit(started())
    assert reporter.close(5)
    assert "step.started" in wire.kinds()


def test_closing_gives_up_in_time_and_keeps_the_rest(
    tmp_path: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter_module, "backoff", lambda failures: 0.001)
    spool = Spool(tmp_path)
    reporter = Reporter(spool, sign=sign, send=wire.send, heartbeat=heartbeat)
    wire.fails = [CloudError("Unreachable", "x", retryable=True)] * 1_000_000
    reporter.emit(started())
    reporter.start()
    assert not reporter.close(0.05)
    assert not reporter._thread.is_alive()
    assert len(Spool(tmp_path).peek(1000)) == 1


def test_log_lines_are_dropped_when_far_too_much_waits(
    reporter: Reporter, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.orca_agent.spool.FULL_AT", 100)
    reporter.emit(started())
    reporter.emit(StepLog(new_id(), 1.0, new_id(), new_id(), 1, 1, (LogLine("out", 1.0, "x"),)))
    reporter.emit(started())
    reporter.start()
    assert reporter.close(5)
    assert wire.kinds().count("step.started") == 2
    assert "step.log" not in wire.kinds()
