"""Events on disk until the queue has taken them, so that nothing is lost when the agent is killed.

One file, only ever appended to; beside it the offset up to which all is confirmed. A crash between
confirming and noting it sends events again, with the same ids. The page cache outlives a killed process:
nothing is synced, because what a dead instance had not sent happens again elsewhere.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final, List, Sequence

from agents.orca_agent.disk import patiently, write_at

SHRINK_AT: Final = 1024 * 1024
FULL_AT: Final = 256 * 1024 * 1024
READ: Final = 256 * 1024


class Spool:
    """A queue of lines. Any thread may append; one thread reads and confirms."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self._file = os.open(folder / "events", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._offset_file = os.open(folder / "events.offset", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._end = self._drop_torn_line()
        noted = os.pread(self._offset_file, 32, 0).strip()
        self._confirmed = int(noted) if noted.isdigit() else 0
        if self._confirmed > self._end:
            self._confirmed = 0

    def _drop_torn_line(self) -> int:
        """A line may have been half written when the agent was killed."""
        size = os.fstat(self._file).st_size
        while size > 0:
            start = max(0, size - READ)
            cut = os.pread(self._file, size - start, start).rfind(b"\n")
            if cut >= 0:
                size = start + cut + 1
                break
            size = start
        os.ftruncate(self._file, size)
        return size

    def append(self, line: str) -> None:
        """Add a line; when this returns it is kept."""
        data = line.encode() + b"\n"
        patiently(lambda: self._append(data))

    def _append(self, data: bytes) -> None:
        with self._lock:
            write_at(self._file, data, self._end)
            self._end += len(data)

    @property
    def waiting(self) -> int:
        """Bytes that are not confirmed."""
        return self._end - self._confirmed

    @property
    def full(self) -> bool:
        """Whether what can be spared should not be added any more."""
        return self.waiting > FULL_AT

    def peek(self, limit: int) -> List[str]:
        """The next lines: about ``limit`` bytes of them, at least one if there is one."""
        with self._lock:
            start, end = self._confirmed, self._end
        data = b""
        while start + len(data) < end and (len(data) < limit or b"\n" not in data):
            data += os.pread(self._file, min(READ, end - start - len(data)), start + len(data))
        return [line.decode() for line in data.split(b"\n")[:-1]]

    def confirm(self, lines: Sequence[str]) -> None:
        """The first of the waiting lines are these, and need not be sent again."""
        with self._lock:
            self._confirmed += sum(len(line.encode()) + 1 for line in lines)
            if self._confirmed == self._end and self._end > SHRINK_AT:
                self._confirmed = 0
                self._note()  # first, so that a crash sends too much rather than too little
                os.ftruncate(self._file, 0)
                self._end = 0
                return
            self._note()

    def _note(self) -> None:
        os.pwrite(self._offset_file, b"%-20d\n" % self._confirmed, 0)

    def close(self) -> None:
        os.close(self._file)
        os.close(self._offset_file)
