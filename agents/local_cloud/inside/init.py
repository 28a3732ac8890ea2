"""Process 1 of an instance: runs the user data and keeps it running, as systemd's ``Restart=always`` would.

Runs inside of the sandbox with the system's Python, so it imports the standard library only and stays compatible with
Python 3.9. User data that ends with 0 has done its work; one that fails or is killed is started again, after 1, 2, 4
... 30 seconds. SIGTERM: the user data's process alone is asked to end first (an agent drains), then all the rest.
Exit code 100 asks the cloud to stop the instance (``shutdown``), 101 to reboot it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

POWER_OFF = signal.SIGRTMIN + 4
REBOOT = signal.SIGRTMIN + 5
ENDINGS = {signal.SIGTERM: 0, signal.SIGINT: 0, POWER_OFF: 100, REBOOT: 101}

LONGEST_PAUSE = 30.0
STEADY_SECONDS = 60.0


class Init:
    """The one loop: everything it reacts to is a signal that it keeps blocked and waits for."""

    def __init__(self, script: str, grace: float) -> None:
        self.script = script
        self.grace = grace
        self.child: int | None = None
        self.status = 0
        self.ending: int | None = None
        self.waited = {signal.SIGCHLD, *ENDINGS}
        signal.pthread_sigmask(signal.SIG_BLOCK, self.waited)

    def say(self, text: str) -> None:
        """One line on the console."""
        os.write(1, f"[init] {text}\n".encode())

    def run(self) -> int:
        """Run until asked to end; the exit code."""
        pause = 1.0
        while self.ending is None and self.runnable():
            began = time.monotonic()
            self.start()
            self.wait(None, lambda: self.child is None)
            if self.ending is not None:
                break
            if self.status == 0:
                self.say("the user data has ended; the instance keeps running")
                break
            if time.monotonic() - began > STEADY_SECONDS:
                pause = 1.0
            self.say(f"the user data {describe(self.status)}; starting it again in {pause:.0f} s")
            self.wait(pause, lambda: False)
            pause = min(LONGEST_PAUSE, pause * 2)
        self.wait(None, lambda: False)
        return self.finish()

    def runnable(self) -> bool:
        """Whether the user data is a script, and not nothing or something for other tools."""
        with Path(self.script).open("rb") as file:
            return file.read(2) == b"#!"

    def start(self) -> None:
        """Start the user data in a session of its own."""
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                signal.pthread_sigmask(signal.SIG_UNBLOCK, self.waited)
                os.chdir("/")
                os.execv(self.script, [self.script])  # noqa: S606 - the user data names its own interpreter
            except OSError as error:
                self.say(f"cannot run the user data: {error}")
            os._exit(127)
        self.child = pid

    def wait(self, seconds: float | None, done: Callable[[], bool]) -> None:
        """Handle signals until ``done()``, an ending is asked for, or ``seconds`` have passed."""
        until = None if seconds is None else time.monotonic() + seconds
        while self.ending is None and not done():
            left = 3600.0 if until is None else until - time.monotonic()
            if left <= 0:
                return
            self.handle(signal.sigtimedwait(self.waited, left))

    def handle(self, received: signal.struct_siginfo | None) -> None:
        """One signal, or None when there was none in time."""
        if received is None:
            return
        if received.si_signo in ENDINGS:
            self.ending = ENDINGS[received.si_signo]
        self.reap()

    def reap(self) -> None:
        """Collect every process that has ended, orphans too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child:
                self.child = None
                self.status = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)

    def finish(self) -> int:
        """Let the user data's process end in its time, then ask everybody, then leave (which kills the rest)."""
        self.say("going down")
        until = time.monotonic() + self.grace
        if self.child is not None:
            os.kill(self.child, signal.SIGTERM)
        while self.child is not None and time.monotonic() < until:
            if signal.sigtimedwait(self.waited, max(0.01, until - time.monotonic())):
                self.reap()
        try:
            os.kill(-1, signal.SIGTERM)
        except ProcessLookupError:
            return self.ending or 0
        until = time.monotonic() + 0.5
        while not alone() and time.monotonic() < until:
            signal.sigtimedwait({signal.SIGCHLD}, 0.05)
            self.reap()
        return self.ending or 0


def alone() -> bool:
    """Whether no other process is left in this PID namespace."""
    return sum(entry.name.isdigit() for entry in Path("/proc").iterdir()) <= 1


def describe(status: int) -> str:
    """What a wait status says, in words."""
    return f"ended with {status}" if status >= 0 else f"was killed by signal {-status}"


def main(script: str, grace: float) -> int:
    """Tell the cloud that the sandbox stands, then run."""
    if "ORCA_READY_FD" in os.environ:
        ready = int(os.environ.pop("ORCA_READY_FD"))
        os.write(ready, b"1")
        os.close(ready)
    os.umask(0o022)
    return Init(script, grace).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
