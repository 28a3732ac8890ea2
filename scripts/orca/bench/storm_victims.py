"""Who is killed in a storm, and when each is back.

*Recovery* from a kill takes until both hold: the process that was killed answers again, and a run that had not begun at
the kill is seen, by its owner through the API, to have ended. So everything that a run passes on its way has worked
again by then, not only the process in question; what other kills in between cost counts too.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from celery import Celery
from kombu.exceptions import OperationalError
from redis import RedisError

from scripts.orca.bench.installation import Orca
from scripts.orca.console import ScriptError
from scripts.orca.run import ready
from scripts.orca.run.processes import descendants
from scripts.orca.setup.secrets import read

AGENT: Final = "agent"
EVERYONE: Final = ("relay", "worker", "terraform", "jobs", "beat", "web", "redis", "cloud", AGENT)
"""All processes but the database, which is never killed (with SQLite it is no process at all)."""
_LOOK_EVERY: Final = 0.2
_PATIENCE: Final = 120.0
_SAYS_WHEN_UP: Final = {"relay": b"the relay listens", "beat": b"is starting"}


@dataclass(eq=False)
class Kill:
    """One SIGKILL; times are of the monotonic clock, ``wall`` seconds since the epoch, ``logged`` bytes of its log."""

    name: str
    pid: int
    logged: int
    at: float
    wall: float
    back: float | None = None
    flows: float | None = None

    @property
    def recovery(self) -> float | None:
        """Seconds until all was as before; None while it is not."""
        return None if self.back is None or self.flows is None else max(self.back, self.flows) - self.at


class Victims:
    """The processes of one installation, by name."""

    def __init__(self, orca: Orca) -> None:
        self._orca = orca
        environment = read(orca.home / "run" / "environment")
        self._redis = Path(environment["ORCA_REDIS_URL"].removeprefix("unix://"))
        self._celery = Celery(broker=environment["ORCA_BROKER_URL"], set_as_current=False)

    def pid(self, name: str) -> int:
        """0 while there is none."""
        try:
            return _agent_below(self._orca.pid_of("cloud")) if name == AGENT else self._orca.pid_of(name)
        except (OSError, xmlrpc.client.Error):
            return 0

    def logged(self, name: str) -> int:
        """How many bytes it has written to its log."""
        log = self._log(name)
        return log.stat().st_size if log.is_file() else 0

    def is_back(self, kill: Kill) -> bool:
        """Whether another is there and does its work: it answers, or (relay, beat) says so in its log."""
        if self.pid(kill.name) in {0, kill.pid}:
            return False
        if word := _SAYS_WHEN_UP.get(kill.name):
            with self._log(kill.name).open("rb") as file:
                file.seek(kill.logged if self.logged(kill.name) >= kill.logged else 0)
                return word in file.read()
        return self._answers(kill.name)

    def _log(self, name: str) -> Path:
        return self._orca.home / "log" / f"{name}.log"

    def _answers(self, name: str) -> bool:
        """The agent has a run's end to speak for it."""
        if name == "web":
            return ready.answers(f"{self._orca.url}/healthz")
        if name == "cloud":
            return _cloud_is_ready(self._orca.cloud_url)
        if name == "redis":
            return ready.redis_is_up(self._redis)
        if name in {"worker", "terraform", "jobs"}:
            return self._worker_answers(f"{name}@{socket.gethostname()}")
        return True

    def _worker_answers(self, name: str) -> bool:
        try:
            with self._celery.connection_for_write() as connection:
                return bool(self._celery.control.ping([name], timeout=0.5, connection=connection))
        except (OperationalError, RedisError, OSError):
            return False


def _cloud_is_ready(url: str) -> bool:
    try:
        return bool(httpx.get(f"{url}/_orca/health", timeout=5, trust_env=False).json()["ready"])
    except (httpx.TransportError, ValueError, KeyError):
        return False


def _agent_below(cloud: int) -> int:
    """The agent on the instance that ``cloud`` has booted; what it starts has other command lines."""
    for pid in descendants(cloud) if cloud else ():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"agents.orca_agent" in words and b"--root" in words:
            return pid
    return 0


class Killer:
    """Kills one of ``names``, chosen at random, every ``every`` seconds, and looks until each is back.

    Only who is up can be killed: a process that does not answer yet after the last time is left to come back.
    ``rounds``: each name that many times; 0: whoever chance chooses, until it is enough.
    """

    def __init__(
        self,
        victims: Victims,
        *,
        every: float,
        chance: random.Random,
        names: Sequence[str] = EVERYONE,
        rounds: int = 0,
    ) -> None:
        self.kills: list[Kill] = []
        self._victims = victims
        self._every = every
        self._chance = chance
        self._names = names
        self._rounds = rounds
        self._closing = threading.Event()
        self._watchers = [threading.Thread(target=self._watch, args=(name,), daemon=True) for name in names]

    def storm(self, enough: Callable[[], bool]) -> None:
        """Kill until the rounds are through or ``enough`` says so. Who was killed is looked after until `close`."""
        for watcher in self._watchers:
            watcher.start()
        left = list(self._names) * self._rounds
        due = time.monotonic()
        while left or not (self._rounds or enough()):
            name = self._kill_one(left or self._names)
            if self._rounds and name:
                left.remove(name)
            if time.monotonic() - max((kill.at for kill in self.kills), default=due) > _PATIENCE:
                raise ScriptError("Nobody comes back who could be killed.", detail=", ".join(left))
            due += self._every
            time.sleep(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        """Nobody needs to be looked after any more."""
        self._closing.set()
        for watcher in self._watchers:
            watcher.join()

    @property
    def all_back(self) -> bool:
        """Whether recovery from every kill is over."""
        return all(kill.recovery is not None for kill in self.kills)

    def seen_end(self, began: float) -> None:
        """A run that began at ``began`` (seconds since the epoch) is seen to have ended."""
        now = time.monotonic()
        for kill in self.kills:
            if kill.flows is None and began > kill.wall:
                kill.flows = now

    def _kill_one(self, names: Sequence[str]) -> str:
        """The name of who was killed; "" if none of them is up at the moment."""
        down = {kill.name for kill in self.kills if kill.back is None}
        for name in self._chance.sample(names, len(names)):
            if name not in down and (pid := self._victims.pid(name)):
                logged = self._victims.logged(name)
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                self.kills.append(Kill(name, pid, logged, time.monotonic(), time.time()))
                return name
        return ""

    def _watch(self, name: str) -> None:
        while not self._closing.wait(_LOOK_EVERY):
            gone = next((kill for kill in self.kills if kill.name == name and kill.back is None), None)
            if gone and self._victims.is_back(gone):
                gone.back = time.monotonic()
