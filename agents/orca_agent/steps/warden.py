"""The warden: a small process between the agent and a step that starts it, holds it to its limits and buries it.

It speaks with the agent over one socket, in lines of JSON: first comes the order (what to start, with what
limits); then the agent may say ``{"stop": seconds of grace}``. The warden says ``{"pid", "start",
"child"}`` at the start and at the end ``{"ended": {...}}`` or ``{"failed": why}``. If the socket closes,
the agent is dead, and all below the warden is killed at once. The warden is a *subreaper*: whatever a step
leaves behind, and however it hides, becomes its child.

It imports as little as it can, because a fresh one is started for each cold step. One that the warm interpreter has
forked waits for the next order when its step has ended (see `warm`).
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import signal
import time

from agents.orca_agent.steps import kernel, processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Mapping, NoReturn, Optional, Tuple

MB = 1024 * 1024
REPORT = 3
FIRST_LOOK, LOOK_EVERY = 0.05, 0.2
STRAGGLERS_MAY_END, STRAGGLERS_GRACE = 0.3, 0.5
RESET = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ)


class Warden:
    """Watches over one step after the other. ``channel`` is the descriptor of the socket to the agent."""

    def __init__(self, channel: int) -> None:
        self.channel = channel
        self.wake, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        kernel.become_subreaper()
        kernel.take_priority()
        own = processes.look(os.getpid())
        self.start = own.start if own else 0
        self._forget()

    def _forget(self) -> None:
        """What was known of the last step."""
        self.order: Mapping[str, Any] = {}
        self.received = b""
        self.child = 0
        self.report = -1
        self.status: Optional[int] = None
        self.reason = ""
        self.deadline = float("inf")
        self.kill_at = float("inf")
        self.peak = 0
        self.cpu = 0.0
        self.ooms = 0

    def begin(self) -> bool:
        """Read an order and fork. True in the child, which must call `settle` and then become the step.

        ``EOFError`` if the agent has gone.
        """
        self._forget()
        self.order, self.received = read_order(self.channel)
        self.ooms = kernel.oom_kills()
        read, self.report = os.pipe2(os.O_CLOEXEC)
        self.child = os.fork()
        if self.child == 0:
            signal.set_wakeup_fd(-1)
            return True
        os.close(self.report)
        trouble = b""
        while True:  # until the child has become the step, or says why it cannot
            data = os.read(read, 4096)
            if not data:
                break
            trouble += data
        os.close(read)
        if trouble:
            os.waitpid(self.child, 0)
            self.say({"failed": trouble.decode("utf-8", "replace")})
            os._exit(1)
        self.say({"pid": os.getpid(), "start": self.start, "child": self.child})
        self.deadline = time.monotonic() + self.order["seconds"]
        return False

    def say(self, message: Dict[str, Any]) -> None:
        try:
            os.write(self.channel, json.dumps(message).encode() + b"\n")
        except OSError:
            self._agent_died()

    def watch(self) -> None:
        """Until the step and all that it started are gone; then tell the agent. Ends where something would not die."""
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        poll.register(self.wake, select.POLLIN)
        next_look = time.monotonic() + FIRST_LOOK
        while self.status is None:
            now = time.monotonic()
            until = min(next_look, self.deadline, self.kill_at)
            for descriptor, _ in poll.poll(max(0.0, until - now) * 1000 + 1):
                if descriptor == self.channel:
                    self._listen()
                else:
                    _drain(self.wake)
            self.reap()
            now = time.monotonic()
            if now >= next_look:
                self._look()
                next_look = now + LOOK_EVERY
            if now >= self.deadline:
                self._stop("time_limit", self.order["grace"])
            if now >= self.kill_at:
                self._end()
        self._end_stragglers(poll)
        self.say({"ended": self._ending()})
        if self._has_children():
            os._exit(0)

    def reap(self) -> None:
        """Collect what has died; adds its use of the processor and of memory to the step's."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.cpu += usage.ru_utime + usage.ru_stime
            self.peak = max(self.peak, usage.ru_maxrss * 1024)
            if pid == self.child:
                self.status = status

    def _ending(self) -> Dict[str, Any]:
        status = self.status or 0
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        if number == signal.SIGKILL and not self.reason and kernel.oom_kills() > self.ooms:
            self.reason = "memory_limit"
        return {
            "exit_code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            "signal": number,
            "reason": self.reason,
            "peak_bytes": self.peak,
            "cpu_seconds": self.cpu,
        }

    def _listen(self) -> None:
        try:
            data = os.read(self.channel, 65_536)
        except OSError:
            data = b""
        if not data:
            self._agent_died()
        self.received += data
        while b"\n" in self.received:
            line, _, self.received = self.received.partition(b"\n")
            command = json.loads(line)
            if "stop" in command:
                self._stop("stopped", float(command["stop"]))

    def _agent_died(self) -> NoReturn:
        self._end()
        os._exit(1)

    def _look(self) -> None:
        found = processes.descendants_cheaply(os.getpid(), self.order["processes"] + 1)
        if sum(process.threads for process in found) > self.order["processes"]:
            self._stop("process_limit", 0.0)
            return
        limit = self.order["memory_mb"] * MB
        used = processes.memory_of(found, limit)
        self.peak = max(self.peak, used)
        if used > limit:
            self._stop("memory_limit", 0.0)

    def _stop(self, reason: str, grace: float) -> None:
        """Ask once, then kill. The first reason stays; a later, shorter grace counts."""
        if self.status is None:
            self.reason = self.reason or reason
        self.deadline = float("inf")
        if self.kill_at == float("inf") and grace > 0:
            for process in processes.descendants(os.getpid()):
                processes.send(process.pid, signal.SIGTERM)
                processes.send(process.pid, signal.SIGCONT)
        self.kill_at = min(self.kill_at, time.monotonic() + grace)

    def _end(self) -> None:
        if self.status is None:  # of a fork bomb, all that have not hidden die at once
            processes.send(-self.child, signal.SIGKILL)
            self.reap()
        processes.end_all(lambda: processes.descendants(os.getpid()), self.reap)
        self.kill_at = time.monotonic() + 1.0  # again, should one be stuck in the kernel

    def _end_stragglers(self, poll: select.poll) -> None:
        """What still runs when the step itself has ended: a moment to finish, then SIGTERM, then SIGKILL."""
        for patience in (STRAGGLERS_MAY_END, STRAGGLERS_GRACE):
            until = time.monotonic() + (0.0 if self.reason else patience)
            while self._has_children():
                left = min(until, self.kill_at) - time.monotonic()
                if left <= 0:
                    break
                for descriptor, _ in poll.poll(left * 1000):
                    if descriptor == self.channel:
                        self._listen()
                    else:
                        _drain(self.wake)
            else:
                return
            for process in processes.descendants(os.getpid()):
                processes.send(process.pid, signal.SIGTERM)
        self._end()
        self.reap()

    def _has_children(self) -> bool:
        self.reap()
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        return


def settle(order: Mapping[str, Any], report: int) -> None:
    """In the child: its session, limits, user and folder, as the order has them.

    Descriptor 3 is then where to report trouble; it closes by itself when another program is executed.
    """
    os.setsid()
    for number in RESET:
        signal.signal(number, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(report, REPORT, inheritable=False)
    os.closerange(REPORT + 1, 1024)
    kernel.prefer_for_oom()
    kernel.yield_priority()
    for kind, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, order["all_processes"]),
        (resource.RLIMIT_FSIZE, order["file_mb"] * MB),
        # A backstop to what the warden sees every now and then.
        (resource.RLIMIT_DATA, int(order["memory_mb"] * MB * 1.5) + 512 * MB),
    ):
        hard = resource.getrlimit(kind)[1]
        most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (most, most))
    if order["uid"] not in (None, os.getuid()):
        os.setgroups([order["gid"]])
        os.setgid(order["gid"])
        os.setuid(order["uid"])
    kernel.die_with_parent()
    kernel.no_new_privileges()
    os.umask(0o022)
    os.chdir(order["folder"])


def complain(error: BaseException) -> NoReturn:
    """In the child: tell the warden why there will be no step."""
    os.write(REPORT, f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:2000])
    os._exit(127)


def read_order(channel: int) -> Tuple[Dict[str, Any], bytes]:
    """The first line that the agent sends, and what came after it. ``EOFError`` if the agent has gone."""
    received = b""
    while b"\n" not in received:
        data = os.read(channel, 65_536)
        if not data:
            raise EOFError
        received += data
    line, _, rest = received.partition(b"\n")
    return json.loads(line), rest


def main() -> None:
    """Serve one step. Descriptor 0 is the socket to the agent, 1 and 2 are the step's output."""
    channel = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 10)
    warden = Warden(channel)
    if not warden.begin():
        warden.watch()
        os._exit(0)
    try:
        settle(warden.order, warden.report)
        argv = warden.order["argv"]
        os.execvpe(argv[0], argv, warden.order["environment"])  # noqa: S606 (no shell is wanted)
    except BaseException as error:
        complain(error)
