"""Work whose steps only wait, and what tests ask of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.orca_agent import work as work_module
from agents.orca_agent.account import Account
from agents.orca_agent.cloud.queue import Message
from agents.orca_agent.ended import Ended
from agents.orca_agent.events import Event, StepFinished
from agents.orca_agent.ids import new_id
from agents.orca_agent.journal import Journal, StepKey
from agents.orca_agent.layout import Layout
from agents.orca_agent.orders import Task, tasks_body
from agents.orca_agent.steps.bundle import BundleStore
from agents.orca_agent.steps.container import Containers
from agents.orca_agent.steps.control import HANDED_BACK, StepControl
from agents.orca_agent.steps.environments import EnvironmentStore
from agents.orca_agent.steps.preparation import Ahead
from agents.orca_agent.steps.result import finish_unstarted
from agents.orca_agent.steps.secret_values import SecretValues
from agents.orca_agent.steps.surroundings import Surroundings
from agents.orca_agent.steps.verdict import Verdict
from agents.orca_agent.work import Work
from tests.unit.agents.orca_agent.doubles import (
    WORKSPACE,
    MemoryBucket,
    MemoryQueue,
    MemorySecrets,
    any_links,
    any_script,
    task_of,
)

HERE = "i-0here"
SUCCESS = Verdict("succeeded", "completed", "", 0)


class Bench:
    """Work whose steps run until the test lets them: ``release`` them, or they are stopped."""

    def __init__(
        self,
        root: Path,
        monkeypatch: pytest.MonkeyPatch,
        slots: int = 2,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.bucket, self.queue = MemoryBucket(), MemoryQueue()
        self.layout = Layout(root)
        self.layout.create()
        self.journal = Journal(self.layout.journal)
        self.events: list[Event] = []
        self.changed = threading.Condition()
        self.begun: list[str] = []
        self.released: set[str] = set()
        self.now = 0.0
        account = Account("me", None, None, root)
        self.around = Surroundings(
            layout=self.layout,
            account=account,
            bucket=self.bucket,
            bucket_name="b",
            links=any_links(),
            secrets=SecretValues(MemorySecrets()),
            bundles=BundleStore(self.layout.bundles, self.bucket),
            environments=EnvironmentStore(self.layout.environments, account),
            containers=Containers(lambda: None, self.layout),
            warm=None,
            emit=self.emit,
            ended=Ended(self.layout.journal),
            boot_id="boot",
            slots=slots,
            passed_on={},
        )
        monkeypatch.setattr(work_module, "run_step", self.run_step)
        self.work = Work(
            self.around,
            self.queue,
            self.journal,
            workspace=WORKSPACE,
            instance=HERE,
            changed=lambda: None,
            clock=clock or (lambda: self.now),
        )

    def emit(self, event: Event) -> None:
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    def run_step(
        self, around: Surroundings, task: Task, control: StepControl, started: Any, ahead: Ahead | None
    ) -> StepFinished | None:
        with self.changed:
            self.begun.append(task.step)
            self.changed.notify_all()
        started(2**22 - 1, 1, 2**22 - 1)
        while task.step not in self.released:
            if control.reason:
                break
            time.sleep(0.001)
        if control.reason == HANDED_BACK:
            return None
        key = StepKey(task.run, task.step, task.attempt)
        return finish_unstarted(around.ended, around.emit, key, SUCCESS)

    def wait(self, is_so: Callable[[], bool]) -> None:
        until = time.monotonic() + 10
        while not is_so():
            assert time.monotonic() < until, (self.begun, self.events)
            time.sleep(0.001)

    def accept(self, *tasks: Task, name: str = "", receives: int = 1) -> Message:
        name = name or new_id()
        message = Message(name, f"receipt-{name}", tasks_body(tasks), receives)
        self.work.accept(message)
        return message

    def ended(self) -> dict[str, str]:
        return {event.step: event.reason for event in self.events if isinstance(event, StepFinished)}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(tmp_path, monkeypatch)
    yield made
    made.work.hand_back_running(0.0)
    assert made.work.wait_idle(10)


def task() -> Task:
    return task_of(any_script())
