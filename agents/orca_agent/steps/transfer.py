"""Files that a step needs, fetched side by side before it starts.

Names and addresses come from others: no name leads out of the step's folder, an address is only read from, and nothing
is fetched for which the disk has no room. A large file comes in parts: where a connection breaks, a part is asked for
again, not the file.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Final, List, Optional, Protocol, Sequence, TypeVar

from agents.orca_agent.cloud.client import backoff
from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.cloud.transport import CannotWrite, FilePart, Target
from agents.orca_agent.events import Reason
from agents.orca_agent.fields import Malformed, clean, relative_path
from agents.orca_agent.orders import MAX_PATH
from agents.orca_agent.steps.failure import StepFailed, StepStopped

AT_ONCE: Final = 8
PART: Final = 16 * 1024 * 1024
TIMES: Final = 3
LONGEST_ASKED: Final = 30.0
"""Seconds for which a server may ask to be left alone."""
FIRST_SECONDS: Final = 60.0
SLOWEST: Final = 1_024
"""Bytes a second that a part has to come at, after the first seconds."""
MAX_FILES: Final = 100_000
MAX_NAME: Final = 255  # bytes, of Linux
LOOK_EVERY: Final = 0.1
MB: Final = 1024 * 1024

T = TypeVar("T")
Check = Callable[[], object]
Count = Callable[[int, bool], object]
"""Told how many bytes have come, and whether from the workspace's own bucket."""


class Fetch(Protocol):
    """Bytes ``start`` to ``start + length`` of one object; returns how many it has in all."""

    def __call__(self, into: Target, *, start: int, length: int) -> int: ...


@dataclass(frozen=True)
class Source:
    """A file to be fetched to ``path``, relative to the folder for all; ``what`` is how messages call it.

    ``size`` None: its first part tells. ``times`` it is tried, each time being several attempts already. ``own``: it
    lies in the workspace's own bucket.
    """

    what: str
    path: str
    size: Optional[int]
    fetch: Fetch
    times: int = TIMES
    own: bool = False


@dataclass(frozen=True)
class Fetched:
    """How much has come."""

    files: int = 0
    bytes: int = 0


def fetch_all(sources: Sequence[Source], folder: Path, *, room: int, check: Check, count: Count) -> Fetched:
    """Fetch all into ``folder``, which must exist. ``room``: bytes that they may take.

    ``check`` is called often, and raises to break it off; ``count`` is told of all bytes that come, also of those that
    come twice. What arrives is the agent's own and can be read by everybody who may pass through to ``folder``. Raises
    `StepFailed`.
    """
    if len(sources) > MAX_FILES:
        raise failed(f"Its inputs are {len(sources)} files; at most {MAX_FILES} are fetched.")
    require_room(sum(source.size or 0 for source in sources), room)
    over = threading.Event()

    def look() -> None:
        if over.is_set():
            raise StepStopped("others have failed")
        check()

    left = _Room(room, count)
    files = [_File(source, _create(folder, source), look, left) for source in sources]
    try:
        total = _fetch_files(files, room, look)
    finally:
        over.set()
    for file in files:
        file.path.chmod(0o444)
    return Fetched(len(files), total)


def _fetch_files(files: Sequence[_File], room: int, check: Check) -> int:
    """All bytes of them: first what is known of, and of the others the first part, then their rest."""
    known = [job for file in files for job in file.jobs()]
    at_once(known + [file.begin for file in files if file.source.size is None], check)
    total = sum(file.size for file in files)
    require_room(total, room)
    at_once([job for file in files for job in file.rest()], check)
    return total


def at_once(jobs: Sequence[Callable[[], T]], check: Check) -> List[T]:
    """The results, in order; the first error ends it."""
    if not jobs:
        return []
    check()
    pool = ThreadPoolExecutor(min(AT_ONCE, len(jobs)), "input")
    try:
        futures = [pool.submit(job) for job in jobs]
        pending = set(futures)
        while pending:
            done, pending = wait(pending, LOOK_EVERY, FIRST_EXCEPTION)
            check()
            for future in done:
                future.result()
        return [future.result() for future in futures]
    finally:
        # A thread that hangs on a dead connection is not waited for: it finds that nobody wants its file any more.
        pool.shutdown(wait=False, cancel_futures=True)


def patiently(fetch: Callable[[], T], check: Check, times: int = TIMES) -> T:
    """Each time is several attempts already; between them nobody could break it off."""
    for again in range(1, times):
        check()
        try:
            return fetch()
        except CloudError as error:
            if not error.retryable:
                raise
            time.sleep(max(backoff(again + times - TIMES), min(error.retry_after, LONGEST_ASKED)))
    check()
    return fetch()


def make_folder(path: Path) -> None:
    """Make it, with those above it, so that everybody can read it."""
    made: List[Path] = []
    while not path.is_dir():
        made.append(path)
        path = path.parent
    for one in reversed(made):
        one.mkdir()
        one.chmod(0o755)


def failed(message: str) -> StepFailed:
    return StepFailed(Reason.INPUT_FAILED, message)


class _Room:
    """What is left of the disk for what comes; any thread takes of it."""

    def __init__(self, room: int, count: Count) -> None:
        self._lock = threading.Lock()
        self._room = room
        self._left = room
        self._count = count

    def take(self, size: int, own: bool = False) -> None:
        """Raises `CannotWrite`. Less than nothing gives it back."""
        with self._lock:
            if size > self._left:
                raise CannotWrite("NoRoom", f"the disk has room for {max(0, self._room) / MB:.1f} MB of inputs")
            self._left -= size
            if size > 0:
                self._count(size, own)


class _Part(FilePart):
    """A part of a file that has to find room, and to come at a pace."""

    def __init__(self, descriptor: int, offset: int, check: Check, room: _Room, own: bool) -> None:
        super().__init__(descriptor, offset, check)
        self._room = room
        self._own = own
        self._began = time.monotonic()

    def seek(self, offset: int, /) -> None:
        self._room.take(-self.written)
        self._began = time.monotonic()
        super().seek(offset)

    def write(self, data: bytes, /) -> None:
        self._room.take(len(data), self._own)
        super().write(data)
        took = time.monotonic() - self._began
        if took > FIRST_SECONDS and self.written / took < SLOWEST:
            raise CloudError("TooSlow", f"{self.written} bytes came in {took:.0f} s", retryable=True)


class _File:
    """A source on its way to its place."""

    def __init__(self, source: Source, path: Path, check: Check, room: _Room) -> None:
        self.source = source
        self.path = path
        self.size = source.size or 0
        self._check = check
        self._room = room
        self._came = self.size

    def jobs(self, offset: int = 0) -> List[Callable[[], None]]:
        """One for each part from ``offset`` on."""
        return [partial(self._fetch, start) for start in range(offset, self.size, PART)]

    def begin(self) -> None:
        """Fetch the first part, which tells the size; all of it, from who knows no parts."""
        self.size, self._came = self._ask(0, PART)
        if self._came != self.size and self._came != min(PART, self.size):
            raise self._changed()

    def rest(self) -> List[Callable[[], None]]:
        """One for each part that has not come with the first."""
        return self.jobs(self._came) if self._came < self.size else []

    def _fetch(self, start: int) -> None:
        length = min(PART, self.size - start)
        whole, came = self._ask(start, length)
        if whole != self.size or came != length:
            raise self._changed()

    def _ask(self, start: int, length: int) -> tuple[int, int]:
        """How many bytes it has in all, and how many came."""
        fetch = self.source.fetch
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                part = _Part(descriptor, start, self._check, self._room, self.source.own)
                ask = partial(fetch, part, start=start, length=length)
                return patiently(ask, self._check, self.source.times), part.written
            finally:
                os.close(descriptor)
        except (CloudError, OSError) as error:
            raise failed(f"{self.source.what} could not be fetched: {_said(error)}") from error

    def _changed(self) -> StepFailed:
        return failed(f"{self.source.what} is not what it was any more: its size has changed.")


def _said(error: Exception) -> str:
    status = error.status if isinstance(error, CloudError) else 0
    return f"{error} (status {status})" if status and str(status) not in str(error) else str(error)


def require_room(total: int, room: int) -> None:
    """Raises `StepFailed` where so many bytes have none."""
    if total > room:
        raise failed(f"Its inputs take {total / MB:.1f} MB; the disk has room for {max(0, room) / MB:.1f} MB.")


def _create(folder: Path, source: Source) -> Path:
    """The empty file into which the source will go. Its folders belong to the agent: nobody puts a link in the way."""
    try:
        path = relative_path(clean(source.path, "its name", MAX_PATH), "its name")
        if any(len(part.encode()) > MAX_NAME for part in path.split("/")):
            raise Malformed(f"its name has a part of more than {MAX_NAME} bytes")
    except Malformed as error:
        raise failed(f"{source.what} cannot be a file here: {error}.") from error
    target = folder / path
    try:
        make_folder(target.parent)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644))
    except (FileExistsError, NotADirectoryError) as error:
        raise failed(f"{source.what} cannot be a file here: there is something in its place.") from error
    except OSError as error:
        raise failed(f"{source.what} cannot be stored: {error.strerror}.") from error
    return target
