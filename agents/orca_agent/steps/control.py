"""How other threads tell a step to stop, whatever it is doing."""

from __future__ import annotations

import threading
from typing import Final, Optional

from agents.orca_agent.events import Reason
from agents.orca_agent.steps.failure import StepStopped
from agents.orca_agent.steps.process import StepProcess

HANDED_BACK: Final = "handed_back"
GRACE: Final = 10.0
SHUTDOWN_SPREADS: Final = 0.3

STOP_REASONS: Final = frozenset({Reason.CANCELLED, Reason.DISK_LIMIT, HANDED_BACK})


class StepControl:
    """Any thread may call `stop`; the thread that runs the step attaches its processes and checks in between.

    ``leaving`` is set when the agent is told to stop.
    """

    def __init__(self, leaving: Optional[threading.Event] = None) -> None:
        self._leaving = leaving or threading.Event()
        self._lock = threading.Lock()
        self._process: Optional[StepProcess] = None
        self._reason = ""
        self._grace = GRACE

    @property
    def reason(self) -> str:
        """Why the step is to stop, or ""."""
        return self._reason

    @property
    def warden(self) -> int:
        """The id of the process that watches over what runs of the step now; 0 if nothing does."""
        with self._lock:
            return self._process.pid if self._process is not None else 0

    def stop(self, reason: str, grace: float = GRACE) -> None:
        """The first reason stays; a later call may shorten the grace."""
        with self._lock:
            self._reason = self._reason or reason
            self._grace = min(self._grace, grace)
            if self._process is not None:
                self._process.stop(self._grace)

    def agent_leaves(self) -> bool:
        """Whether what has just happened to the step may come of the instance being shut down.

        Then all processes are told to end at once, and the step's may hear it before the agent's.
        """
        return self._leaving.wait(SHUTDOWN_SPREADS)

    def attach(self, process: StepProcess) -> None:
        with self._lock:
            self._process = process
            if self._reason:
                process.stop(self._grace)

    def detach(self) -> None:
        with self._lock:
            self._process = None

    def check(self) -> None:
        """Raises `StepStopped` if the step is to stop."""
        if self._reason:
            raise StepStopped(self._reason)
