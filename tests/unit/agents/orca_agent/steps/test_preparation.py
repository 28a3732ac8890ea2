"""What is prepared ahead is used once, or leaves nothing."""

from __future__ import annotations

import hashlib
import io
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from agents.orca_agent.cloud.bucket import Listed
from agents.orca_agent.cloud.queue import Message
from agents.orca_agent.deliveries import Delivery, Job
from agents.orca_agent.journal import Record
from agents.orca_agent.orders import Input, Script, Task
from agents.orca_agent.steps.control import StepControl
from agents.orca_agent.steps.preparation import Ahead, Preparation
from tests.unit.agents.orca_agent.doubles import MemoryBucket, task_of
from tests.unit.agents.orca_agent.work_bench import Bench

PREFIX = "runs/r/s/1/output/"


@dataclass
class GatedBucket(MemoryBucket):
    """Lists only while its gate is open."""

    gate: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)

    def list(self, prefix: str) -> Iterator[Listed]:
        self.asked.set()
        assert self.gate.wait(10)
        return super().list(prefix)


class Scene:
    """A task with one input, and a bucket in which everything lies."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("main.py", "print()")
        sha256 = hashlib.sha256(packed.getvalue()).hexdigest()
        self.bucket = GatedBucket({"scripts/x.zip": packed.getvalue(), PREFIX + "f": b"input"})
        self.bucket.gate.set()
        around = Bench(root, monkeypatch).around
        around.bundles._bucket = self.bucket
        self.around = replace(around, bucket=self.bucket)
        self.task: Task = task_of(Script("scripts/x.zip", sha256, "main.py", "python"), inputs=(Input("p", PREFIX),))
        self.control = StepControl()
        self.said: list[str] = []

    def ahead(self) -> Ahead:
        return Ahead(self.around, self.task, self.control)

    def have(self, preparation: Preparation) -> bytes:
        preparation.have_it(self.around, self.control.check, self.said.append)
        return (preparation.folder / "inputs/p/f").read_bytes()

    def left(self) -> list[Path]:
        return list(self.around.layout.work.iterdir())

    def until_nothing_is_left(self) -> None:
        until = time.monotonic() + 10
        while self.left():
            assert time.monotonic() < until, self.left()
            time.sleep(0.005)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, monkeypatch)


def test_what_came_ahead_is_not_asked_for_again(scene: Scene) -> None:
    ahead = scene.ahead()
    preparation = ahead.take()
    assert scene.have(preparation) == b"input"
    reads = scene.bucket.reads
    assert scene.have(preparation) == b"input"
    assert scene.bucket.reads == reads
    assert preparation.traffic.fetched > len(b"input")
    ahead.leave()
    assert (scene.left(), scene.around.unclaimed.fetched) == ([], 0)


def test_what_failed_ahead_is_done_in_its_turn(scene: Scene) -> None:
    scene.bucket.fail.add(PREFIX)
    ahead = scene.ahead()
    assert not ahead.finish(scene.said.append)
    scene.bucket.fail.clear()
    assert scene.have(ahead.take()) == b"input"


def test_what_gets_no_turn_goes_and_its_bytes_are_told_by_others(scene: Scene) -> None:
    ready = scene.ahead()
    assert ready.finish(scene.said.append)
    came = ready.preparation.traffic.fetched
    ready.leave()
    ready.leave()
    assert (scene.left(), scene.around.unclaimed.fetched) == ([], came)


def test_what_still_comes_when_its_turn_is_over_leaves_nothing(scene: Scene) -> None:
    """As where a secret is missing: the step ends before it has looked for its inputs."""
    scene.bucket.gate.clear()
    ahead = scene.ahead()
    preparation = ahead.take()
    assert scene.bucket.asked.wait(10)
    ahead.leave()
    preparation.remove()
    scene.bucket.gate.set()
    ahead.wait_gone(10)
    scene.until_nothing_is_left()


def job(task: Task, receives: int = 1) -> Job:
    message = Message("m", "r", "", receives)
    return Job(task, Delivery(message, Record("m", "r", "", ()), task.once, since=0.0, renew_at=0.0), StepControl())


def test_where_no_thread_can_be_made_the_step_is_prepared_in_its_turn(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    waits = job(scene.task)
    waits.prepare(scene.around)
    assert (waits.ahead, scene.left()) == (None, [])


def test_what_will_not_run_or_needs_nothing_is_not_prepared(scene: Scene) -> None:
    jobs = [job(replace(scene.task, once=True), receives=2), job(replace(scene.task, inputs=()))]
    for one in jobs:
        one.prepare(scene.around)
    assert [one.ahead for one in jobs] == [None, None]
    assert scene.left() == []


def test_a_full_disk_takes_what_was_prepared_before_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, monkeypatch)
    waits = job(scene.task)
    bench = Bench(tmp_path, monkeypatch)
    waits.prepare(scene.around)
    bench.work._waiting.append(waits)
    assert bench.work.drop_prepared(10.0)
    assert (waits.ahead, scene.left()) == (None, [])
    assert not bench.work.drop_prepared(10.0)
    waits.prepare(scene.around)
    assert waits.ahead is None
