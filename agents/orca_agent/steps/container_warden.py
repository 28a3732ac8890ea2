"""Watches over a container as a warden watches over a process, and speaks like one: it is a thread of the agent's.

What the container prints goes into two pipes; what happens to it is said on the channel (see `process.StepProcess`).
"""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Dict, Final, List, Optional, Tuple

from agents.orca_agent.steps.engine import Engine, EngineError

log = logging.getLogger(__name__)

BLOCK: Final = 256 * 1024
HEAD: Final = 8
SOON: Final = 0.05
"""Seconds until a container is first looked at; a short one would tell nothing of itself otherwise."""
LOOK_EVERY: Final = 1.0
KILL_AGAIN: Final = 5.0
ENDING: Final = 0.02
LATE: Final = 0.2


@dataclass(frozen=True)
class Bounds:
    """How long a container may run, and how many processes and threads it may have."""

    seconds: float
    grace: float
    processes: int


class ContainerWarden:
    """Owns the descriptors that it is given, the connection to the container, and the container."""

    def __init__(
        self, engine: Engine, container: str, bounds: Bounds, channel: socket.socket, pipes: Tuple[int, int]
    ) -> None:
        self._engine = engine
        self._container = container
        self._bounds = bounds
        self._channel: Optional[socket.socket] = channel
        self._pipes = dict(enumerate(pipes, 1))
        self._frames = b""
        self._stream: Optional[socket.socket] = None
        self._heard = b""
        self._reason = ""
        self._kill_at = float("inf")
        self._peak = 0
        self._cpu = 0.0
        self._thread = threading.Thread(target=self._run, name=f"container {container[:12]}", daemon=True)

    def start(self) -> None:
        """Start the container and watch it. Raises `EngineError`."""
        self._stream, self._frames = self._engine.attach(self._container)
        self._engine.call("POST", f"/containers/{self._container}/start")
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait until the container is gone."""
        self._thread.join(seconds)

    def discard(self) -> None:
        """Let go of everything, where it never started."""
        for descriptor in self._pipes.values():
            os.close(descriptor)
        for opened in (self._channel, self._stream):
            if opened is not None:
                opened.close()

    def _run(self) -> None:
        channel = self._channel
        try:
            said: Dict[str, Any] = {"ended": self._watch()}
        except (EngineError, OSError, ValueError) as error:
            said = {"failed": f"Its container was lost: {error}"}
        for descriptor in self._pipes.values():
            os.close(descriptor)
        self._pipes = {}
        if channel is not None:
            with suppress(OSError):
                channel.sendall(json.dumps(said).encode() + b"\n")
        try:
            self._engine.remove(self._container)
        except EngineError as error:  # the next start of the agent tries again
            log.warning("container %s could not be removed: %s", self._container, error)
        self.discard()

    def _watch(self) -> Dict[str, Any]:
        now = time.monotonic()
        until, look_at, pause = now + self._bounds.seconds, now, SOON  # what ends at once has been looked at, too
        while True:
            due = min(until, look_at, self._kill_at)
            self._wait(max(0.0, due - time.monotonic()))
            now = time.monotonic()
            if self._stream is None:
                state = self._engine.container(self._container)["State"]
                if not state["Running"]:
                    return self._ended(state)
                look_at = min(look_at, now + ENDING)
            if now >= until:
                until = float("inf")
                self._end("time_limit", self._bounds.grace)
            if now >= self._kill_at:
                self._kill_at = now + KILL_AGAIN
                self._engine.kill(self._container, "SIGKILL")
            if now >= look_at:
                pause = min(LOOK_EVERY, pause * 2)
                look_at = now + (pause if self._stream is not None else ENDING)
                self._measure()

    def _wait(self, seconds: float) -> None:
        """Until something is to be read, or for so long."""
        opened: List[socket.socket] = [each for each in (self._channel, self._stream) if each is not None]
        poll = select.poll()
        for each in opened:
            poll.register(each, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(min(seconds, 3_600.0) * 1000)}
        if self._channel is not None and self._channel.fileno() in ready:
            self._listen(self._channel)
        if self._stream is not None and self._stream.fileno() in ready:
            self._carry(self._stream)

    def _listen(self, channel: socket.socket) -> None:
        try:
            data = channel.recv(4_096)
        except OSError:
            data = b""
        if not data:  # whoever ran the step has let go of it
            self._channel = None
            self._end("stopped", 0.0)
            return
        self._heard += data
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            self._end("stopped", float(json.loads(line)["stop"]))

    def _carry(self, stream: socket.socket) -> None:
        """Frames: one byte says which stream, four how many bytes follow after the eighth."""
        data = stream.recv(BLOCK)
        if not data:
            self._stream = None
            stream.close()
            return
        self._frames += data
        start = 0
        while len(self._frames) - start >= HEAD:
            size = int.from_bytes(self._frames[start + 4 : start + HEAD], "big")
            end = start + HEAD + size
            if len(self._frames) < end:
                break
            self._print(self._frames[start], self._frames[start + HEAD : end])
            start = end
        self._frames = self._frames[start:]

    def _print(self, stream: int, data: bytes) -> None:
        pipe = self._pipes.get(stream, self._pipes[1])
        while data:
            try:
                data = data[os.write(pipe, data) :]
            except BrokenPipeError:  # nobody reads any more
                return

    def _end(self, reason: str, grace: float) -> None:
        """Ask the program to end; what is left of it after ``grace`` seconds is killed. The first reason stays."""
        self._reason = self._reason or reason
        if grace > 0:
            self._engine.kill(self._container, "SIGTERM")
        self._kill_at = min(self._kill_at, time.monotonic() + grace)

    def _measure(self) -> None:
        """What it uses now; one that has just ended uses nothing."""
        try:
            query = {"stream": False, "one-shot": True}
            stats = self._engine.call("GET", f"/containers/{self._container}/stats", query, timeout=10.0)
        except EngineError:
            return
        memory = stats.get("memory_stats") or {}
        details = memory.get("stats") or {}
        cache = details.get("total_inactive_file", details.get("inactive_file", 0))
        self._peak = max(self._peak, memory.get("usage", 0) - cache)
        used = (stats.get("cpu_stats") or {}).get("cpu_usage") or {}
        self._cpu = max(self._cpu, used.get("total_usage", 0) / 1e9)
        if (stats.get("pids_stats") or {}).get("current", 0) > self._bounds.processes:
            self._end("process_limit", 0.0)

    def _ended(self, state: Dict[str, Any]) -> Dict[str, Any]:
        code = int(state["ExitCode"])
        if code == 137 and not self._reason and not state.get("OOMKilled"):
            time.sleep(LATE)  # the engine may hear of it later than of the end
            state = self._engine.container(self._container)["State"]
        if code != 0 and not self._reason and state.get("OOMKilled"):
            self._reason = "memory_limit"
        return {
            "exit_code": code,
            "signal": None,
            "reason": self._reason,
            "peak_bytes": self._peak,
            "cpu_seconds": self._cpu,
        }
