"""Which attempts have ended on this instance: a message that comes twice does not run twice.

One file, appended to; a torn last line, and what is older than the latest ``KEPT`` attempts, is forgotten. How they
ended is in the spool by then, which is on the same disk.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final

from agents.orca_agent.disk import patiently, write_at
from agents.orca_agent.journal import StepKey

KEPT: Final = 5_000


class Ended:
    """A set of attempts on disk. Any thread may ask and add."""

    def __init__(self, folder: Path, *, kept: int = KEPT) -> None:
        self._lock = threading.Lock()
        self._path = folder / "ended"
        self._kept = kept
        self._keys: OrderedDict[str, None] = OrderedDict()
        lines = self._path.read_text().split("\n")[:-1] if self._path.exists() else []
        for line in lines[-kept:]:
            self._keys[line] = None
        self._rewrite()

    def __contains__(self, key: StepKey) -> bool:
        with self._lock:
            return _line(key) in self._keys

    def add(self, key: StepKey) -> None:
        """Note that this attempt has ended; when this returns it is kept."""
        patiently(lambda: self._add(_line(key)))

    def _add(self, line: str) -> None:
        with self._lock:
            data = line.encode() + b"\n"
            write_at(self._file, data, self._end)
            self._end += len(data)
            self._keys[line] = None
            if len(self._keys) > self._kept:
                self._keys.popitem(last=False)
            self._written += 1
            if self._written > 2 * self._kept:
                outgrown = self._file
                self._rewrite()
                os.close(outgrown)

    def _rewrite(self) -> None:
        partial = self._path.with_suffix(".part")
        partial.write_text("".join(f"{line}\n" for line in self._keys))
        partial.replace(self._path)
        self._file = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        self._end = os.fstat(self._file).st_size
        self._written = len(self._keys)


def _line(key: StepKey) -> str:
    return f"{key.run} {key.step} {key.attempt}"
