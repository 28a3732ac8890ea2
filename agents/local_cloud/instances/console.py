"""An instance's console: a file that grows, cut back to its newest part when it has become long."""

from __future__ import annotations

import os
import time
from pathlib import Path

#: EC2 shows the newest 64 KB.
SHOWN_BYTES = 64 * 1024
KEPT_BYTES = 1024 * 1024


class Console:
    """Appends lines of the cloud's own and hands out the newest part."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self) -> int:
        """A descriptor to append to, for the instance's processes. The caller closes it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.cut()
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def say(self, text: str) -> None:
        """One line of the cloud's own."""
        descriptor = self.open()
        try:
            os.write(descriptor, f"[cloud {time.strftime('%H:%M:%S')}] {text}\n".encode())
        finally:
            os.close(descriptor)

    def newest(self) -> str:
        """The newest 64 KB."""
        try:
            with self._path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - SHOWN_BYTES))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def cut(self) -> None:
        """Drop the older half of a file that has grown past a megabyte. Writers append, so they need not know."""
        try:
            if self._path.stat().st_size <= KEPT_BYTES:
                return
        except FileNotFoundError:
            return
        with self._path.open("r+b") as file:
            file.seek(-KEPT_BYTES // 2, os.SEEK_END)
            newest = file.read()
            file.seek(0)
            file.write(newest)
            file.truncate()
