"""The agent's end of a running step: how it is started, by a fresh warden or by the warm interpreter."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Final, Mapping, Optional, Protocol, Sequence, Set, Tuple

from agents.orca_agent.account import Account

CODE: Final = str(Path(__file__).resolve().parents[3])
WARM_TIMEOUT: Final = 5.0
COLD_TIMEOUT: Final = 30.0
WARDEN: Final = "import sys; sys.path.insert(0, sys.argv[1]); from agents.orca_agent.steps import warden; warden.main()"


@dataclass(frozen=True)
class Order:
    """What a warden starts, and the limits that it keeps. The warm interpreter is itself the first of ``argv``."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    account: Account
    seconds: float
    memory_mb: int
    processes: int
    all_processes: int
    file_mb: int
    grace: float = 10.0

    def line(self) -> bytes:
        values: Dict[str, Any] = {
            "argv": list(self.argv),
            "environment": dict(self.environment),
            "folder": str(self.folder),
            "uid": self.account.uid,
            "gid": self.account.gid,
            "seconds": self.seconds,
            "memory_mb": self.memory_mb,
            "processes": self.processes,
            "all_processes": self.all_processes,
            "file_mb": self.file_mb,
            "grace": self.grace,
        }
        return json.dumps(values).encode() + b"\n"


@dataclass(frozen=True)
class Ending:
    """How the program ended. ``reason`` "" unless the warden ended it; ``failed`` says why it never began."""

    exit_code: Optional[int] = None
    signal: Optional[int] = None
    reason: str = ""
    peak_memory_mb: float = 0.0
    cpu_seconds: float = 0.0
    failed: str = ""


live: Set[int] = set()
"""The process ids of all wardens that this agent has."""


class WarmStarter(Protocol):
    """Has wardens in which a script starts warm: ``lend`` gives the channel to one, None if there is none to be had."""

    def lend(self) -> Optional[socket.socket]: ...

    def take_back(self, channel: socket.socket) -> object: ...


class StepProcess:
    """A warden and the step below it. Read ``out``, ``err`` and `hear` until the ending, then `close`.

    The warden is a process of its own (``warden``), one that ``lender`` has lent, or a thread that watches over a
    container: then there is no ``pid``, and ``after`` waits for its end.
    """

    def __init__(
        self,
        channel: socket.socket,
        out: int,
        err: int,
        *,
        warden: Optional[subprocess.Popen[bytes]] = None,
        lender: Optional[WarmStarter] = None,
        after: Callable[[], object] = lambda: None,
    ) -> None:
        self.channel = channel
        self.out = out
        self.err = err
        self.pid = 0
        self.start = 0
        self.session = 0
        self.ending: Optional[Ending] = None
        self._warden = warden
        self._lender = lender
        self._after = after
        if warden is not None:
            live.add(warden.pid)
        self._received = b""
        self._stopped = False
        self._ended = False

    @property
    def warm(self) -> bool:
        return self._lender is not None

    def stop(self, grace: float) -> None:
        """Ask the step to end; kill it after ``grace`` seconds. Does not wait."""
        self._stopped = True
        try:
            self.channel.sendall(json.dumps({"stop": grace}).encode() + b"\n")
        except OSError:
            return

    def hear(self) -> bool:
        """Read what the warden says, once; False when it will say no more. Sets ``pid``, ``ending``."""
        try:
            data = self.channel.recv(65_536)
        except OSError:
            data = b""
        if not data:
            self.ending = self.ending or Ending(failed="The process that watches over the step was killed.")
            return False
        self._received += data
        while b"\n" in self._received:
            line, _, self._received = self._received.partition(b"\n")
            try:
                self._understand(json.loads(line))
            except (ValueError, KeyError, TypeError):
                self.ending = Ending(failed="The process that watches over the step was disturbed.")
                return False
        return True

    def _understand(self, message: Mapping[str, Any]) -> None:
        if "pid" in message:
            self.pid, self.start, self.session = message["pid"], message["start"], message["child"]
            live.add(self.pid)
        elif "failed" in message:
            self.ending = Ending(failed=message["failed"])
        elif "ended" in message:
            ended = message["ended"]
            self.ending = Ending(
                ended["exit_code"],
                ended["signal"],
                ended["reason"],
                round(ended["peak_bytes"] / 2**20, 1),
                round(ended["cpu_seconds"], 3),
            )
            self._ended = True

    def close(self) -> None:
        """Let go of it. A warden that still has a step kills it and ends; one that was lent goes back.

        Not where it was told to stop: it may not have read that yet, and must not take it for the next step's.
        """
        live.discard(self.pid)
        if self._lender is not None and self._ended and not self._stopped:
            self._lender.take_back(self.channel)
        else:
            self.channel.close()
        os.close(self.out)
        os.close(self.err)
        self._after()
        if self._warden is not None:
            try:
                self._warden.wait(5)
            except subprocess.TimeoutExpired:
                self._warden.kill()
                self._warden.wait()
            live.discard(self._warden.pid)


def start(order: Order, warm: Optional[WarmStarter] = None) -> StepProcess:
    """Start a step; by ``warm`` if that is given and able to. Raises ``OSError``.

    Returns when the program has begun or cannot begin: then there is an ending already.
    """
    if warm is not None:
        process = _start(order, warm)
        if process is not None:
            return process
    cold = _start(order, None)
    if cold is None:
        raise OSError("the process that watches over the step did not answer")
    return cold


def _start(order: Order, warm: Optional[WarmStarter]) -> Optional[StepProcess]:
    """None where nothing answers in time."""
    with ExitStack() as ours, ExitStack() as theirs:
        out, their_out = _pipe(ours, theirs)
        err, their_err = _pipe(ours, theirs)
        if warm is not None:
            lent = warm.lend()
            if lent is None:
                return None
            channel = ours.enter_context(lent)
            process = StepProcess(channel, out, err, lender=warm)
        else:
            channel, their_channel = socket.socketpair()
            ours.callback(channel.close)
            theirs.callback(their_channel.close)
            warden = _fresh_warden((their_channel.fileno(), their_out, their_err))
            process = StepProcess(channel, out, err, warden=warden)
        channel.settimeout(COLD_TIMEOUT if warm is None else WARM_TIMEOUT)
        with suppress(OSError):
            if warm is not None:
                socket.send_fds(channel, [b"+"], [their_out, their_err])
            theirs.close()
            channel.sendall(order.line())
            process.hear()
        if process.pid == 0 and (process.ending is None or warm is not None):
            return None
        channel.settimeout(None)
        ours.pop_all()
        return process


def _pipe(ours: ExitStack, theirs: ExitStack) -> Tuple[int, int]:
    read, write = os.pipe()
    ours.callback(os.close, read)
    theirs.callback(os.close, write)
    return read, write


def _fresh_warden(descriptors: Tuple[int, int, int]) -> subprocess.Popen[bytes]:
    channel, out, err = descriptors
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", "-c", WARDEN, CODE],
        stdin=channel,
        stdout=out,
        stderr=err,
        start_new_session=True,
        env={"LANG": "C.UTF-8", "PATH": os.defpath},
    )
