"""One instance as processes: booting, going down, and what happens when its sandbox ends by itself."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from agents.local_cloud.instances.console import Console
from agents.local_cloud.instances.root_folder import RootFolder
from agents.local_cloud.instances.sandbox import Reports, Standing, Tools, boot_command

READY_SECONDS = 20.0
#: What the sandbox's own end may take after its grace period.
AFTERWARDS_SECONDS = 2.0
LONGEST_PAUSE = 30.0

_POWER_OFF, _REBOOT = 100, 101


@dataclass(frozen=True)
class Boot:
    """What one boot needs: the user data, the environment of process 1, and what to close afterwards."""

    user_data: bytes
    environment: Mapping[str, str]
    close: Callable[[], None]
    remarks: tuple[str, ...] = ()


class Owner(Protocol):
    """Who decides over machines; called from the machine's own thread."""

    def boot(self, instance_id: str) -> Boot | None:
        """Everything that the next boot needs; None if the instance is gone."""

    def booted(self, instance_id: str) -> None:
        """The sandbox stands."""

    def down(self, instance_id: str, *, for_good: bool) -> None:
        """The instance has been stopped, or terminated."""

    def asked_to_stop(self, instance_id: str) -> None:
        """The instance shut itself down."""


class Machine:
    """A thread that boots one instance and takes it down, one command after the other."""

    def __init__(
        self, instance_id: str, folder: RootFolder, *, tools: Tools, spawner: Executor, owner: Owner, grace: float
    ) -> None:
        self.instance_id = instance_id
        self.folder = folder
        self.console = Console(folder.console)
        self.standing = Standing()
        self._tools = tools
        self._spawner = spawner
        self._owner = owner
        self._grace = grace
        self._commands: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._close: Callable[[], None] = lambda: None
        self._boots = 0
        self._pause = 1.0
        self._booted_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"machine {instance_id}", daemon=True)
        self._thread.start()

    def command(self, name: str) -> None:
        """Ask for "boot", "stop", "reboot", "terminate" or "leave" (go down with the cloud)."""
        self._commands.put((name, 0))

    def join(self, seconds: float) -> None:
        """Wait until the machine has left."""
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            name, code = self._commands.get()
            try:
                if self._obey(name, code):
                    return
            except Exception as error:
                self.console.say(f"failed to {name}: {type(error).__name__}: {error}")

    def _obey(self, name: str, code: int) -> bool:
        """Carry out one command; True when it was the last."""
        if name == "boot":
            self._boot()
        elif name == "reboot":
            self._go_down("reboot")
            self._boot()
        elif name == "stop":
            self._go_down("stop")
            self._owner.down(self.instance_id, for_good=False)
        elif name == "terminate":
            self._go_down("terminate")
            self._owner.down(self.instance_id, for_good=True)
            return True
        elif name == "leave":
            self._go_down("stop with the cloud")
            return True
        elif name == "ended" and code == self._boots:
            self._ended()
        return False

    def _boot(self) -> None:
        if self._process is not None:
            return
        boot = self._owner.boot(self.instance_id)
        if boot is None:
            return
        self._boots += 1
        self._close = boot.close
        self.console.say(f"booting {self.instance_id} at {self.folder.place.address}")
        if self._tools.bwrap is None:
            self.console.say("WARNING: no bwrap on this machine: this instance is a plain process, not isolated")
        for remark in boot.remarks:
            self.console.say(remark)
        self.folder.prepare(boot.user_data, boot.environment)
        if not boot.user_data.startswith(b"#!"):
            self.console.say("there is no user data that starts with #!: nothing is run")
        self._start_sandbox(boot.environment)
        self._booted_at = time.monotonic()
        self._owner.booted(self.instance_id)

    def _start_sandbox(self, environment: Mapping[str, str]) -> None:
        """Start the sandbox and wait until it stands."""
        ready, ready_write = os.pipe()
        info, info_write = os.pipe()
        output = self.console.open()
        command = boot_command(self._tools, self.folder, environment, self._grace, Reports(ready_write, info_write))
        try:
            # In the one thread that lives as long as the cloud: the kernel kills the sandboxes when it dies.
            process = self._spawner.submit(
                subprocess.Popen,
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**environment, "ORCA_READY_FD": str(ready_write)},
                cwd="/",
                pass_fds=(ready_write, info_write),
                start_new_session=True,
            ).result()
        finally:
            for descriptor in (ready_write, info_write, output):
                os.close(descriptor)
        self._process = process
        threading.Thread(target=self._watch, args=(process, self._boots), daemon=True).start()
        try:
            readable, _, _ = select.select([ready], [], [], READY_SECONDS)
            if not readable or not os.read(ready, 1):
                raise RuntimeError("the sandbox did not come up; its console says why")
            init_pid = process.pid if self._tools.bwrap is None else _child_pid(info)
            self.standing = Standing.of(init_pid, self._tools)
        finally:
            os.close(ready)
            os.close(info)

    def _watch(self, process: subprocess.Popen[bytes], boot: int) -> None:
        process.wait()
        self._commands.put(("ended", boot))

    def _go_down(self, why: str) -> None:
        """Ask process 1 to end everything; after its grace period the kernel does."""
        process, self._process = self._process, None
        self._boots += 1
        if process is None:
            return
        self.console.say(f"going down ({why})")
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.standing.init_pid or process.pid, signal.SIGTERM)
        try:
            process.wait(self._grace + AFTERWARDS_SECONDS)
        except subprocess.TimeoutExpired:
            self.console.say("still there after its grace period: killed")
            for pid in {self.standing.init_pid, process.pid} - {0}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
        self._let_go()

    def _let_go(self) -> None:
        """The sandbox has ended: nobody comes in any more, nothing of it is held."""
        self._close()
        standing, self.standing = self.standing, Standing()
        standing.close()

    def _ended(self) -> None:
        """The sandbox ended by itself: it asked to, or it crashed and comes up again as a crashed machine would."""
        process, self._process = self._process, None
        self._let_go()
        status = process.returncode if process else 0
        if status == _POWER_OFF:
            self.console.say("the instance has shut itself down")
            self._owner.asked_to_stop(self.instance_id)
            return
        if status != _REBOOT:
            if time.monotonic() - self._booted_at > 60:
                self._pause = 1.0
            self.console.say(f"the instance has crashed (status {status}); starting it again in {self._pause:.0f} s")
            again = threading.Timer(self._pause, self._commands.put, (("boot", self._boots),))
            again.daemon = True
            again.start()
            self._pause = min(LONGEST_PAUSE, self._pause * 2)
            return
        self._boot()


def _child_pid(info: int) -> int:
    """The process id of the sandbox's process 1 as bwrap reports it, seen from here."""
    text = b""
    while b"}" not in text:
        part = os.read(info, 4096)
        if not part:
            break
        text += part
    return int(json.loads(text)["child-pid"])
