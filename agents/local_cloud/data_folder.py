"""The folder that keeps everything: for one local cloud at a time."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

#: A predecessor that is just ending is waited for.
WAIT_SECONDS = 3.0


class FolderInUse(Exception):
    """Another local cloud works in the folder."""


class DataFolder:
    """Holds the folder's lock while it is entered. The kernel lets go of it however the process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> DataFolder:
        self._path.mkdir(parents=True, exist_ok=True)
        self._path.chmod(0o700)
        self._descriptor = os.open(self._path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    holder = os.read(self._descriptor, 32).decode() or "unknown"
                    raise FolderInUse(f"{self._path} is in use by another local cloud, process {holder}") from None
                time.sleep(0.05)
            else:
                break
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, str(os.getpid()).encode())
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._descriptor)
