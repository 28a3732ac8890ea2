"""One build of an image by the engine's classic builder, within limits of time, memory, processes and disk."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import queue
import re
import secrets
import tarfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Callable, Dict, Final, Iterator, List, Mapping, Optional, Set, Union

from agents.orca_agent.steps.engine import Engine, EngineError, hang_up

MB: Final = 1024 * 1024
SECONDS: Final = "ORCA_BUILD_SECONDS"
DISK: Final = "ORCA_BUILD_DISK_MB"
LEAST_MEMORY_MB: Final = 1_024
PROCESSES: Final = 1_024
TICK: Final = 0.5
LAST_LINES: Final = 12
MAX_LINE: Final = 64 * 1024
IDLE: Final = 60.0
SHM: Final = 64 * MB
PAGE: Final = 4_096
OUTPUT: Final = "output"

_RUNNING: Final = re.compile(r"^ ---> Running in ([0-9a-f]{12,64})\s*$")


@dataclass(frozen=True)
class Job:
    """What is to be built, with ``memory_mb`` for each command. ``context`` is a tar archive."""

    tag: str
    dockerfile: str
    context: IO[bytes]
    memory_mb: int
    network: bool = False
    seconds: float = float(os.environ.get(SECONDS, "1800"))
    disk_mb: int = int(os.environ.get(DISK, "8192"))


@dataclass(frozen=True)
class Built:
    """``problem`` is "" where it went well; ``last`` are the last lines that the build said."""

    problem: str
    last: List[str]


def write_context(folder: Path, dockerfile: str, target: IO[bytes], *, whole: bool) -> str:
    """Write what a build sees of a bundle, and return its digest. Times and owners are left out of both.

    ``whole``: all of it; else the Dockerfile alone, because nothing else comes into the image.
    """
    digest = hashlib.sha256()
    names = _files(folder) if whole else [dockerfile]
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            path = folder / name
            member = tarfile.TarInfo(name)
            member.size = path.stat().st_size
            member.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            with path.open("rb") as file:
                tar.addfile(member, file)
                file.seek(0)
                digest.update(f"{name}\0{member.mode}\0{member.size}\0".encode("utf-8", "surrogateescape"))
                for block in iter(lambda: file.read(MB), b""):
                    digest.update(block)
    return digest.hexdigest()


def _files(folder: Path) -> List[str]:
    """The files of a bundle, in order; not those that a step leaves."""
    found = []
    for place, folders, files in os.walk(folder):
        inside = Path(place).relative_to(folder)
        if str(inside) == ".":
            folders[:] = [name for name in folders if name != OUTPUT]
        found += [str(inside / name) for name in files]
    return sorted(found)


class _Lines:
    """An answer of the engine's, JSON value by JSON value, read by a thread so that nobody has to wait for it."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self._answer = answer
        self._queue: queue.Queue[Union[Dict[str, Any], Exception, None]] = queue.Queue(1_000)
        self._unwanted = threading.Event()
        threading.Thread(target=self._read, name="engine answers", daemon=True).start()

    def _read(self) -> None:
        try:
            while True:
                line = self._answer.readline(MAX_LINE)
                if not line:
                    break
                with suppress(ValueError):
                    self._put(json.loads(line))
            self._put(None)
        except Exception as error:  # whatever it is, it is the other thread's to know
            self._put(error)

    def _put(self, found: Union[Dict[str, Any], Exception, None]) -> None:
        while not self._unwanted.is_set():
            try:
                self._queue.put(found, timeout=TICK)
                return
            except queue.Full:
                continue

    def until_end(self, tick: Callable[[], object]) -> Iterator[Dict[str, Any]]:
        """What comes; ``tick`` is called at least every `TICK` seconds, and may raise. Raises `EngineError`."""
        try:
            due = time.monotonic() + TICK
            while True:
                if time.monotonic() >= due:
                    tick()
                    due = time.monotonic() + TICK
                try:
                    found = self._queue.get(timeout=max(0.0, due - time.monotonic()))
                except queue.Empty:
                    continue
                if found is None:
                    return
                if isinstance(found, Exception):
                    raise EngineError(f"the container engine broke off: {found}")
                yield found
        finally:
            self._unwanted.set()
            hang_up(self._answer)


class _Exceeded(Exception):
    """A build has reached a limit."""


class _Watch:
    """What a build may still use. ``mark`` is the size of /dev/shm in its containers, which nobody else's have."""

    def __init__(self, engine: Engine, job: Job, mark: int, check: Callable[[], object]) -> None:
        self._engine = engine
        self._job = job
        self._mark = mark
        self._check = check
        self._until = time.monotonic() + job.seconds
        self._running = ""
        self._sizes: Dict[str, int] = {}
        self._seen: Set[str] = set()

    def running(self, container: str) -> None:
        """The build says that it runs a command in this container: it has no limit of processes yet.

        A command can print that too, about a container that is not its own.
        """
        with suppress(EngineError):
            if container in self._seen or self._engine.container(container)["HostConfig"]["ShmSize"] != self._mark:
                return
            self._seen.add(container)
            self._running = container
            self._engine.call("POST", f"/containers/{container}/update", None, {"PidsLimit": PROCESSES})

    def tick(self) -> None:
        """Raises `_Exceeded`, or what ``check`` raises."""
        self._check()
        if time.monotonic() > self._until:
            raise _Exceeded(f"It took longer than {self._job.seconds:.0f} seconds.")
        if self._running:
            with suppress(EngineError):
                self._sizes[self._running] = int(self._engine.container(self._running, size=True).get("SizeRw") or 0)
        if sum(self._sizes.values()) > self._job.disk_mb * MB:
            raise _Exceeded(f"It wrote more than {self._job.disk_mb} MB.")

    def end(self) -> None:
        """Remove what runs of it; the engine ends a build when its client has gone, in its own time."""
        if self._running:
            with suppress(EngineError):
                self._engine.remove(self._running)


def build(engine: Engine, job: Job, *, write: Callable[[str, bytes], object], check: Callable[[], object]) -> Built:
    """Build; what it says goes to ``write`` as it comes. Raises `EngineError`, and what ``check`` raises."""
    mark = SHM + PAGE * secrets.randbelow(2**14)
    watch = _Watch(engine, job, mark, check)
    length = {"Content-Length": str(os.fstat(job.context.fileno()).st_size)}
    last: List[str] = []
    problem = ""
    try:
        with engine.stream("POST", "/build", _query(job, mark), job.context, timeout=IDLE, headers=length) as answer:
            answer.opened.settimeout(None)  # type: ignore[attr-defined]
            for said in _Lines(answer).until_end(watch.tick):
                text = str(said.get("stream", ""))
                running = _RUNNING.match(text)
                if running:
                    watch.running(running.group(1))
                if text:
                    write("orca", text.encode("utf-8", "replace"))
                    last = (last + [line for line in text.splitlines() if line.strip()])[-LAST_LINES:]
                problem = problem or str(said.get("error", ""))
    except _Exceeded as exceeded:
        problem = str(exceeded)
    except EngineError as error:
        if not error.status:
            raise
        problem = str(error)  # a Dockerfile that cannot even be read
    finally:
        watch.end()
    return Built(problem, last)


def _query(job: Job, mark: int) -> Dict[str, object]:
    memory = max(LEAST_MEMORY_MB, job.memory_mb) * MB
    fsize = job.disk_mb * MB
    return {
        "dockerfile": job.dockerfile,
        "t": job.tag,
        "rm": True,
        "forcerm": True,
        "memory": memory,
        "memswap": memory,
        "networkmode": "bridge" if job.network else "none",
        "shmsize": mark,
        "ulimits": [{"Name": "fsize", "Soft": fsize, "Hard": fsize}, {"Name": "core", "Soft": 0, "Hard": 0}],
        "version": "1",
    }


def pull(engine: Engine, name: str, *, seconds: float, check: Callable[[], object]) -> None:
    """Fetch an image from where its name says. Raises `EngineError`, and what ``check`` raises."""
    tagged = "@" in name or ":" in name.rpartition("/")[2]
    follow(engine, "/images/create", {"fromImage": name if tagged else f"{name}:latest"}, seconds=seconds, check=check)


def follow(
    engine: Engine,
    path: str,
    query: Mapping[str, object],
    *,
    seconds: float,
    check: Callable[[], object],
    headers: Optional[Dict[str, str]] = None,
) -> None:
    """Something that takes its time, to its end. Raises `EngineError`, and what ``check`` raises."""
    until = time.monotonic() + seconds

    def tick() -> None:
        check()
        if time.monotonic() > until:
            raise EngineError(f"it took longer than {seconds:.0f} seconds")

    problem: Optional[str] = None
    with engine.stream("POST", path, query, timeout=seconds, headers=headers) as answer:
        for said in _Lines(answer).until_end(tick):
            problem = problem or said.get("error")
    if problem:
        raise EngineError(problem)
