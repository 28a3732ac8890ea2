"""The agent's side of the warm interpreter: it is started, used, and started again when it has died."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from typing import Final, Mapping, Optional, Sequence

from agents.orca_agent.account import Account
from agents.orca_agent.steps.process import CODE

log = logging.getLogger(__name__)

PROGRAM: Final = (
    "import sys; code = sys.argv.pop(); sys.path.insert(1, code); "
    "from agents.orca_agent.steps import warm; sys.path.remove(code); warm.main()"
)
RESTART_AFTER: Final = 5.0


class WarmServer:
    """Threads may call `start` at any time; where that fails, the step starts cold."""

    def __init__(self, account: Account, environment: Mapping[str, str]) -> None:
        self._account = account
        self._environment = dict(environment)
        self._lock = threading.Lock()
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._socket: Optional[socket.socket] = None
        self._started = float("-inf")
        self._closed = False

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def open(self) -> bool:
        """Start the interpreter unless it runs. False if it cannot be had now."""
        with self._lock:
            return self._open()

    def start(self, descriptors: Sequence[int]) -> bool:
        """Hand over a step's channel, output and error stream. See `process.WarmStarter`."""
        with self._lock:
            if not self._open() or self._socket is None:
                return False
            try:
                socket.send_fds(self._socket, [b"+"], list(descriptors))
            except OSError:
                self._discard()
                return False
            return True

    def close(self) -> None:
        """End the interpreter; steps that it has forked live on."""
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
