"""The agent's side of the warm interpreter: it is started, used, and started again when it has died.

It forks a warden for each step that runs at the same time as others (see `warm`); wardens are lent to steps, and those
that nobody has wanted for a while are let go.
"""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from typing import Final, List, Mapping, Optional, Tuple

from agents.orca_agent.account import Account
from agents.orca_agent.steps.process import CODE

log = logging.getLogger(__name__)

PROGRAM: Final = (
    "import sys; code = sys.argv.pop(); sys.path.insert(1, code); "
    "from agents.orca_agent.steps import warm; sys.path.remove(code); warm.main()"
)
RESTART_AFTER: Final = 5.0
KEPT_IDLE: Final = 10.0


class WarmServer:
    """Threads may call at any time; where there is nothing to `lend`, the step starts cold."""

    def __init__(self, account: Account, environment: Mapping[str, str]) -> None:
        self._account = account
        self._environment = dict(environment)
        self._lock = threading.Lock()
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._socket: Optional[socket.socket] = None
        self._idle: List[Tuple[socket.socket, float]] = []
        self._started = float("-inf")
        self._closed = False

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def open(self) -> bool:
        """Start the interpreter unless it runs. False if it cannot be had now."""
        with self._lock:
            return self._open()

    def lend(self) -> Optional[socket.socket]:
        """The channel to a warden that waits for a step: the one that was used last, or a new one."""
        with self._lock:
            if self._idle:
                return self._idle.pop()[0]
            if not self._open() or self._socket is None:
                return None
            ours, theirs = socket.socketpair()
            try:
                socket.send_fds(self._socket, [b"+"], [theirs.fileno()])
            except OSError:
                ours.close()
                self._discard()
                return None
            finally:
                theirs.close()
            return ours

    def take_back(self, channel: socket.socket) -> None:
        """A warden's step has ended: it may have another."""
        with self._lock:
            if self._closed:
                channel.close()
            else:
                self._idle.append((channel, time.monotonic()))

    def tidy(self, idle: float = KEPT_IDLE) -> None:
        """End the wardens that have had no step for ``idle`` seconds."""
        with self._lock:
            since = time.monotonic() - idle
            for channel, last_used in self._idle:
                if last_used <= since:
                    channel.close()
            self._idle = [(channel, last_used) for channel, last_used in self._idle if last_used > since]

    def close(self) -> None:
        """End the interpreter and the wardens that wait; steps that run live on."""
        self.tidy(0.0)
        with self._lock:
            self._closed = True
            self._discard()

    def _open(self) -> bool:
        if self._process is not None and self._process.poll() is None:
            return True
        if self._process is not None:
            log.warning("the warm interpreter ended with status %s", self._process.returncode)
        self._discard()
        now = time.monotonic()
        if self._closed or now - self._started < RESTART_AFTER:
            return False
        self._started = now
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, CODE],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                env=self._environment,
                cwd="/",
                user=self._account.uid,
                group=self._account.gid,
                # Not an empty list: with that, Python keeps the groups of root.
                extra_groups=None if self._account.gid is None else [self._account.gid],
            )
        except OSError as error:
            log.warning("the warm interpreter does not start: %s", error)
            ours.close()
            return False
        finally:
            theirs.close()
        self._socket = ours
        return True

    def _discard(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            try:
                self._process.wait(1)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
