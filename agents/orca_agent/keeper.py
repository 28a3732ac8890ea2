"""Keeps house while steps run: messages stay hidden, the disk does not fill up, no process is left without a parent."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Callable, Final, Protocol, Set

from agents.orca_agent.events import Reason
from agents.orca_agent.layout import Layout
from agents.orca_agent.steps import process, processes
from agents.orca_agent.work import Work

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 3.0
# A disk takes a gigabyte a second: so often it is looked at while steps run, and else, in seconds.
DISK_EVERY: Final = 0.1
DISK_EVERY_IDLE: Final = 0.5
MB: Final = 1024 * 1024
LOW_DISK_MB: Final = 256
REMOVED_WITHIN: Final = 1.0


class Warm(Protocol):
    """The warm interpreter: its process is no orphan, and `tidy` ends those below it that are not used."""

    @property
    def pid(self) -> int: ...

    def tidy(self) -> object: ...


class Keeper:
    """A thread that looks after steps, disk and processes until it is closed, and calls ``look`` as often."""

    def __init__(
        self,
        work: Work,
        layout: Layout,
        warm: Warm,
        *,
        free_mb: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free // MB,
        look: Callable[[], object] = lambda: None,
    ) -> None:
        self._work = work
        self._layout = layout
        self._warm = warm
        self._free_mb = free_mb
        self._look = look
        self._suspects: Set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        due = time.monotonic() + LOOK_EVERY
        while not self._stop.wait(DISK_EVERY_IDLE if self._work.idle else DISK_EVERY):
            try:
                if not self._work.idle:
                    self.spare_disk()
                if time.monotonic() >= due:
                    due = time.monotonic() + LOOK_EVERY
                    self._work.renew()
                    self._work.give_back_overdue()
                    self._warm.tidy()
                    self.bury_orphans()
                    self._look()
            except Exception:
                log.exception("housekeeping")

    def spare_disk(self) -> None:
        """When the disk is nearly full, what has come for later steps goes; else the step that has most on it."""
        if self._free_mb(self._layout.work) < LOW_DISK_MB and not self._work.drop_prepared(REMOVED_WITHIN):
            self._work.stop_largest(self._size_of, Reason.DISK_LIMIT)

    def _size_of(self, step: str, warden: int) -> int:
        """Its own folder, or what its processes have written, wherever that was: the greater of the two."""
        folder = sum(_size(folder) for folder in self._layout.work.glob(f"{step}-*"))
        below = processes.descendants(warden) if warden else []
        return max(folder, sum(processes.written_by(process.pid) for process in below))

    def bury_orphans(self) -> None:
        """Kill children that we do not know: what a step has left whose warden was killed.

        A child counts as unknown when it was so twice in a row, because one that has just started may be.
        """
        known = process.live | {self._warm.pid}
        found = {child.pid for child in processes.descendants_cheaply(os.getpid()) if child.parent == os.getpid()}
        for pid in found - known & self._suspects:
            processes.send(pid, signal.SIGKILL)
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
        self._suspects = found - known


def _size(folder: Path) -> int:
    total = 0
    for _, _, files, descriptor in os.fwalk(folder, follow_symlinks=False):
        for name in files:
            try:
                total += os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_blocks * 512
            except OSError:
                continue
    return total
