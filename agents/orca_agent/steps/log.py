"""The log of a step: numbered lines, bounded, in a file and on their way to the portal."""

from __future__ import annotations

import time
from typing import BinaryIO, Callable, Dict, Final, Iterable, List

from agents.orca_agent.events import LogLine, LogSummary, StepLog
from agents.orca_agent.ids import new_id
from agents.orca_agent.orders import Task
from agents.orca_agent.steps.lines import LineSplitter
from agents.orca_agent.steps.masking import Masker

FLUSH_AFTER: Final = 0.1
FLUSH_BYTES: Final = 24 * 1024  # in an envelope each may become seven
FLUSH_LINES: Final = 1_000
MB: Final = 1024 * 1024


class StepLogger:
    """For one thread. Lines go to ``file`` and, in batches, to ``emit``; what exceeds the limit is counted.

    ``told_all``: ``emit`` has taken every line (it says False where it drops some).

    A line of the file is: time in UTC, stream, text, with a space between.
    """

    def __init__(
        self,
        task: Task,
        file: BinaryIO,
        emit: Callable[[StepLog], object],
        boot_id: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._task = task
        self._file = file
        self._emit = emit
        self._boot_id = boot_id
        self._clock = clock
        self.told_all = True
        self.masker = Masker(())
        self._splitters: Dict[str, LineSplitter] = {}
        self._limit = task.limits.log_mb * MB
        self._lines = 0
        self._bytes = 0
        self._dropped_lines = 0
        self._dropped_bytes = 0
        self._pending: List[LogLine] = []
        self._pending_bytes = 0
        self._pending_since = 0.0
        self._second = 0
        self._stamp = ""

    def hide(self, values: Iterable[str]) -> None:
        """Mask these from here on; to be called before anything is written."""
        self.masker = Masker(values)

    def write(self, stream: str, data: bytes) -> None:
        """Bytes that came from ``out`` or ``err``, or from a program that the agent runs (``orca``)."""
        if self._full:
            self._dropped_bytes += len(data)
            self._dropped_lines += data.count(b"\n")
            return
        splitter = self._splitters.setdefault(stream, LineSplitter(self.masker))
        for line in splitter.feed(data):
            self._add_bounded(stream, line)

    def say(self, text: str) -> None:
        """A line of the agent's own; it is kept whatever the limit."""
        for line in self.masker.mask_text(text).split("\n"):
            self._add("orca", line[: FLUSH_BYTES // 8])

    def due(self) -> float:
        """Seconds until `flush` is due; infinite while nothing waits."""
        if not self._pending:
            return float("inf")
        return max(0.0, self._pending_since + FLUSH_AFTER - self._clock())

    def flush(self) -> None:
        """Send what waits."""
        if not self._pending:
            return
        now, task = self._clock(), self._task
        first = self._lines - len(self._pending) + 1
        lines = tuple(self._pending)
        event = StepLog(new_id(now), now, task.run, task.step, task.attempt, first, lines, self._boot_id)
        self.told_all = self._emit(event) is not False and self.told_all
        self._pending = []
        self._pending_bytes = 0

    def finish(self, key: str) -> LogSummary:
        """The last lines, sent and written; ``key`` is where the file will lie in the bucket."""
        for stream, splitter in self._splitters.items():
            for line in splitter.finish():
                self._add_bounded(stream, line)
        if self._dropped_bytes:
            size = self._dropped_bytes / MB
            self.say(f"The log was full: {self._dropped_lines} more lines ({size:.1f} MB) were dropped.")
        self.flush()
        self._file.flush()
        return LogSummary(self._lines, self._bytes, self._dropped_bytes > 0, key)

    @property
    def _full(self) -> bool:
        return self._bytes >= self._limit

    def _add_bounded(self, stream: str, line: str) -> None:
        if self._full:
            self._dropped_lines += 1
            self._dropped_bytes += len(line)
            return
        self._add(stream, line)
        if self._full:
            self.say(f"The log has reached its limit of {self._task.limits.log_mb} MB; the rest is dropped.")

    def _add(self, stream: str, line: str) -> None:
        now = round(self._clock(), 3)
        if int(now) != self._second:
            self._second = int(now)
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        data = f"{self._stamp}.{int(now % 1 * 1000):03d}Z {stream} {line}\n".encode()
        if self._pending_bytes + len(data) > FLUSH_BYTES:
            self.flush()
        self._file.write(data)
        self._lines += 1
        self._bytes += len(data)
        if not self._pending:
            self._pending_since = now
        self._pending.append(LogLine(stream, now, line))
        self._pending_bytes += len(data)
        if len(self._pending) >= FLUSH_LINES:
            self.flush()
