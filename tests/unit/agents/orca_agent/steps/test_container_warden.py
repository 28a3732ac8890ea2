"""A container watched over: its output carried, its end told in a warden's words, and itself removed."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from agents.orca_agent.steps.container_warden import Bounds, ContainerWarden
from agents.orca_agent.steps.engine import Engine, EngineError
from agents.orca_agent.steps.process import Ending, StepProcess
from agents.orca_agent.steps.pump import pump


class OneContainer(Engine):
    """An engine that has one container, whose end the test decides."""

    def __init__(self) -> None:
        super().__init__("/nowhere")
        self.near, self.far = socket.socketpair()
        self.running = threading.Event()
        self.state: dict[str, Any] = {"Running": True, "ExitCode": 0, "OOMKilled": False}
        self.stats: dict[str, Any] = {}
        self.signals: list[str] = []
        self.removed = threading.Event()
        self.obeys = {"SIGTERM": 0, "SIGKILL": 137}
        self.broken = False

    def end(self, code: int, *, oom: bool = False) -> None:
        self.state = {"Running": False, "ExitCode": code, "OOMKilled": oom}
        self.far.close()

    def attach(self, container: str) -> tuple[socket.socket, bytes]:
        return self.near, b""

    def call(self, method: str, path: str, query: Any = None, body: Any = None, *, timeout: float = 60.0) -> Any:
        if path.endswith("/start"):
            self.running.set()
        return self.stats

    def container(self, container: str, *, size: bool = False) -> dict[str, Any]:
        if self.broken:
            raise EngineError("it is gone")
        return {"State": self.state}

    def kill(self, container: str, signal: str) -> None:
        self.signals.append(signal)
        if signal in self.obeys and self.state["Running"]:
            self.end(self.obeys[signal])

    def remove(self, container: str) -> None:
        self.removed.set()


class Heard:
    """What was printed, stream by stream."""

    def __init__(self) -> None:
        self.text: dict[str, bytes] = {"out": b"", "err": b""}

    def write(self, stream: str, data: bytes) -> None:
        self.text[stream] += data

    def due(self) -> float:
        return float("inf")

    def flush(self) -> None:
        return None


def frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


@pytest.fixture
def engine() -> Iterator[OneContainer]:
    made = OneContainer()
    yield made
    made.near.close()
    made.far.close()


def watch(engine: OneContainer, *, seconds: float = 20.0, grace: float = 5.0, processes: int = 10) -> StepProcess:
    out, their_out = os.pipe()
    err, their_err = os.pipe()
    channel, theirs = socket.socketpair()
    warden = ContainerWarden(engine, "c" * 12, Bounds(seconds, grace, processes), theirs, (their_out, their_err))
    warden.start()
    return StepProcess(channel, out, err, after=lambda: warden.join(5))


def ending(engine: OneContainer, process: StepProcess) -> tuple[Ending, Heard]:
    heard = Heard()
    found = pump(process, heard, seconds=20)
    process.close()
    assert engine.removed.is_set()
    return found, heard


def test_both_streams_are_carried_however_they_are_cut(engine: OneContainer) -> None:
    process = watch(engine)
    sent = frame(1, b"one\n") + frame(2, b"two\n") + frame(1, b"") + frame(1, b"three")
    for index in range(0, len(sent), 5):
        engine.far.sendall(sent[index : index + 5])
    engine.end(3)
    found, heard = ending(engine, process)
    assert heard.text == {"out": b"one\nthree", "err": b"two\n"}
    assert (found.exit_code, found.signal, found.reason) == (3, None, "")
    assert process.pid == 0


def test_what_it_used_is_told(engine: OneContainer) -> None:
    engine.stats = {
        "memory_stats": {"usage": 30 * 2**20, "stats": {"inactive_file": 10 * 2**20}},
        "cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000}},
        "pids_stats": {"current": 3},
    }
    process = watch(engine)
    threading.Timer(0.3, engine.end, (0,)).start()
    found, _ = ending(engine, process)
    assert (found.peak_memory_mb, found.cpu_seconds) == (20.0, 1.5)


def test_one_that_ends_at_sigterm_is_not_killed(engine: OneContainer) -> None:
    process = watch(engine)
    process.stop(5.0)
    found, _ = ending(engine, process)
    assert (found.reason, engine.signals) == ("stopped", ["SIGTERM"])


def test_one_that_does_not_is_killed_after_the_grace(engine: OneContainer) -> None:
    engine.obeys.pop("SIGTERM")
    process = watch(engine)
    process.stop(0.2)
    found, _ = ending(engine, process)
    assert (found.exit_code, found.reason, engine.signals) == (137, "stopped", ["SIGTERM", "SIGKILL"])


def test_time_is_bounded(engine: OneContainer) -> None:
    found, _ = ending(engine, watch(engine, seconds=0.2))
    assert (found.reason, engine.signals) == ("time_limit", ["SIGTERM"])


def test_too_many_processes_end_it_at_once(engine: OneContainer) -> None:
    engine.stats = {"pids_stats": {"current": 11}}
    found, _ = ending(engine, watch(engine, processes=10))
    assert (found.reason, engine.signals) == ("process_limit", ["SIGKILL"])


@pytest.mark.parametrize(("code", "reason"), [(137, "memory_limit"), (1, "memory_limit"), (0, "")])
def test_memory_that_ran_out_counts_where_the_program_failed(engine: OneContainer, code: int, reason: str) -> None:
    process = watch(engine)
    engine.end(code, oom=True)
    assert ending(engine, process)[0].reason == reason


def test_when_nobody_listens_any_more_it_is_killed(engine: OneContainer) -> None:
    process = watch(engine)
    process.close()
    assert engine.removed.wait(5)
    assert engine.signals == ["SIGKILL"]


def test_an_engine_that_dies_is_told(engine: OneContainer) -> None:
    process = watch(engine)
    engine.broken = True
    engine.far.close()
    found, _ = ending(engine, process)
    assert "Its container was lost" in found.failed
