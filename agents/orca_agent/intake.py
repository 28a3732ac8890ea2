"""Receives messages from the workspace's queue whenever there is a free slot for their tasks."""

from __future__ import annotations

import logging
import threading
from typing import Callable, Final

from agents.orca_agent.cloud.client import backoff
from agents.orca_agent.cloud.errors import CloudError, Missing
from agents.orca_agent.cloud.queue import LONGEST_WAIT, Queue
from agents.orca_agent.work import FIRST_VISIBILITY, Work

log = logging.getLogger(__name__)

RECHECK: Final = 60.0
MISSING_PAUSE: Final = 2.0


class Intake:
    """A thread with a long poll of its own; ``abort`` breaks off the poll that is under way."""

    def __init__(self, queue: Queue, work: Work, abort: Callable[[], object]) -> None:
        self._queue = queue
        self._work = work
        self._abort = abort
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, *, at_once: bool) -> None:
        """Receive no more. A poll that is broken off ``at_once`` may catch a message that only time brings back."""
        self._stop.set()
        self._work.close()
        if at_once:
            self._abort()
        self._thread.join(LONGEST_WAIT + 10)

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            free = self._work.free_slots(RECHECK)
            if free == 0 or self._stop.is_set():
                continue
            # Once between two receives at most, so that what is ours is never held up for long.
            others = self._work.head_start
            if self._stop.wait(others.pause()):
                continue
            try:
                wait = self._work.longest_wait(others.longest_wait(LONGEST_WAIT))
                messages = self._queue.receive(free, wait=wait, visibility=FIRST_VISIBILITY)
                failures = 0
            except CloudError as error:
                failures += 1
                if not self._stop.is_set():
                    self._pause(error, failures)
                continue
            for message in messages:
                self._work.accept(message)

    def _pause(self, error: CloudError, failures: int) -> None:
        if failures in {3, 30, 300}:
            log.warning("no messages can be received: %s", error)
        self._stop.wait(backoff(failures, MISSING_PAUSE if isinstance(error, Missing) else 10.0))
