"""How long the instance may stay up without its portal: nobody should pay for what nobody looks after.

The portal renews the desired state from time to time. Where that has stopped, and nothing has run for as long, the
instance shuts itself down: its disk and its bucket stay, and whoever brings the portal back starts it again.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from typing import Callable, Final, Optional

log = logging.getLogger(__name__)

DEFAULT: Final = 24 * 3600.0
SHUTDOWN: Final = ("shutdown", "-h", "now")


def shut_down() -> None:
    """EC2 makes a stop of it: the behaviour for shutdowns from inside is left at its default."""
    subprocess.run(SHUTDOWN, check=False, timeout=60)


class Lease:
    """Counts from the start of the agent, by a clock that nobody sets; any thread may call."""

    def __init__(
        self,
        idle: Callable[[], bool],
        *,
        shut_down: Callable[[], object] = shut_down,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._idle = idle
        self._shut_down = shut_down
        self._clock = clock
        self._lock = threading.Lock()
        self._alive_at = clock()
        self._seconds = DEFAULT
        self._generation: Optional[int] = None

    def renew(self, generation: int, seconds: float) -> None:
        """The portal wants this ``generation``. The same one again is no news: it may be read anew at any time."""
        with self._lock:
            self._seconds = seconds or DEFAULT
            if generation != self._generation:
                self._generation = generation
                self._alive_at = self._clock()

    def look(self) -> bool:
        """Shut the instance down if it is time; whether it was."""
        with self._lock:
            now = self._clock()
            if not self._idle():
                self._alive_at = now
            if now - self._alive_at < self._seconds:
                return False
            self._alive_at = now  # should the shutdown fail, it is tried again after as long
        log.error("no sign of the portal for %.0f s, and nothing to do: the instance shuts down", self._seconds)
        self._shut_down()
        return True
