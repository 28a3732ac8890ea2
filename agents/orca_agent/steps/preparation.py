"""What a step needs before its program can start: its script, and what comes to it; also fetched ahead of its turn."""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from functools import partial
from typing import Callable, Final, List, Optional

from agents.orca_agent.layout import Layout
from agents.orca_agent.orders import Task
from agents.orca_agent.pace import kind_of
from agents.orca_agent.steps import arrivals, bundle
from agents.orca_agent.steps.command import INPUT
from agents.orca_agent.steps.control import StepControl
from agents.orca_agent.steps.failure import StepStopped
from agents.orca_agent.steps.surroundings import Surroundings
from agents.orca_agent.steps.traffic import Traffic
from agents.orca_agent.steps.transfer import MB, Check

log = logging.getLogger(__name__)

DISK_RESERVE_MB: Final = 512
LOOK_EVERY: Final = 0.1


class Preparation:
    """The folder of one attempt, which only its name leads to, and what has come for it. Raises ``OSError``.

    ``ahead`` is who fills it while the attempt waits for its turn.
    """

    def __init__(self, layout: Layout, task: Task, ahead: Optional[Ahead] = None) -> None:
        self._task = task
        self._ahead = ahead
        self.traffic = Traffic()
        self.folder = layout.work / f"{task.step}-{task.attempt}-{secrets.token_hex(4)}"
        self.script = self.folder / "script"
        self.temporary = self.folder / "tmp"
        self.folder.mkdir(0o711)

    def have_it(self, around: Surroundings, check: Check, say: Callable[[str], object]) -> None:
        """Have everything there, as `fill`; what was fetched ahead is used where that came to its end."""
        if self._ahead is not None:
            if self._ahead.finish(say):
                return
            self.clear()
        self.fill(around, check, say)

    def fill(self, around: Surroundings, check: Check, say: Callable[[str], object], *, share: int = 1) -> None:
        """Lay everything out, all of it the agent's own still. ``share``: it may take that part of the disk's room.

        Raises `StepFailed`, `CloudError`, ``OSError``, and what ``check`` raises.
        """
        began = time.monotonic()
        check()
        packed = around.bundles.fetch(self._task.script, partial(self.traffic.comes, own=True))
        check()
        self.script.mkdir(0o700)
        bundle.unpack(packed, self.script)
        for folder in (self.script / "output", self.temporary):
            folder.mkdir(exist_ok=True)
        arrivals.fetch(
            self._task,
            self.folder,
            around.bucket,
            around.links,
            reserve=self._reserve(share),
            check=check,
            count=self.traffic.comes,
            say=say,
        )
        around.pace.prepared(kind_of(self._task), time.monotonic() - began)

    def _reserve(self, share: int) -> int:
        """Bytes of the disk that are not for what comes."""
        reserve = DISK_RESERVE_MB * MB
        room = max(0, shutil.disk_usage(self.folder).free - reserve)
        return reserve + room - room // share

    def clear(self) -> None:
        """As before it was filled. Raises ``OSError``."""
        for folder in (self.script, self.temporary, self.folder / "inputs", self.folder / INPUT):
            if folder.exists():
                shutil.rmtree(folder)

    def remove(self) -> None:
        """All that is there of it."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Ahead:
    """A thread that prepares a task while it waits for its turn; what fails is tried again in the turn.

    Raises ``OSError`` or ``RuntimeError`` where there is no room for a folder or a thread.
    """

    def __init__(self, around: Surroundings, task: Task, control: StepControl) -> None:
        self.preparation = Preparation(around.layout, task, self)
        self._around = around
        self._control = control
        self._said: List[str] = []
        self._lock = threading.Lock()
        self._taken = self._over = self._complete = False
        self._done = threading.Event()
        self._gone = threading.Event()
        try:
            threading.Thread(target=self._run, name=f"ahead {task.step}", daemon=True).start()
        except RuntimeError:
            self.preparation.remove()
            raise

    @staticmethod
    def is_worth_it(task: Task) -> bool:
        """Whether anything comes to a task besides its script."""
        return bool(task.inputs) or task.data is not None

    def take(self) -> Preparation:
        """Its turn has come: it is removed by `leave`."""
        with self._lock:
            self._taken = True
        return self.preparation

    def finish(self, say: Callable[[str], object]) -> bool:
        """Wait for it; whether everything is there, of which ``say`` is then told. Raises `StepStopped`."""
        while not self._done.wait(LOOK_EVERY):
            self._control.check()
        if self._complete:
            for text in self._said:
                say(text)
        return self._complete

    def leave(self) -> None:
        """Its turn is over, or it gets none: nothing stays of it, at the latest when its thread has seen that."""
        with self._lock:
            done = self._done.is_set() and not self._over
            self._over = True
        if done:
            self._clear_away()

    def wait_gone(self, seconds: float) -> None:
        """Until nothing is left of it, for at most so long."""
        self._gone.wait(seconds)

    def _run(self) -> None:
        try:
            self.preparation.fill(self._around, self._check, self._said.append, share=2 * self._around.slots)
            self._complete = True
        except StepStopped:
            log.debug("%s is not wanted any more", self.preparation.folder.name)
        except Exception as error:  # whatever it is, it comes again in the turn, and is told then
            log.info("%s could not be prepared ahead: %r", self.preparation.folder.name, error)
        with self._lock:
            self._done.set()
            over = self._over
        if over:
            self._clear_away()

    def _check(self) -> None:
        self._control.check()
        if self._over:
            raise StepStopped("its turn is over")

    def _clear_away(self) -> None:
        self.preparation.remove()
        if not self._taken:
            self._around.unclaimed.claim(self.preparation.traffic)
        self._gone.set()
