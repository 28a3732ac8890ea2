"""One Orca at a time in one home."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

from scripts.orca.console import ScriptError, step

_STOPPING_TAKES = 120


def lock_take(path: Path, url: str) -> int:
    """Holds ``path`` for this process and whoever inherits the file descriptor that is returned.

    Raises ``ScriptError`` with the address of the Orca that holds it. One that is only just stopping (its
    `scripts/run` is gone) is waited for.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _STOPPING_TAKES
    if not _locked(file):
        _refuse_if_running(path)
        with step("Waiting for the last Orca to stop"):
            while not _locked(file):
                if time.monotonic() > deadline:
                    raise ScriptError(f"What holds {path} does not stop.", f"See who it is with: fuser -v {path}")
                time.sleep(0.2)
                _refuse_if_running(path)
    os.ftruncate(file, 0)
    os.pwrite(file, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)
    return file


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refuse_if_running(path: Path) -> None:
    try:
        holder = json.loads(path.read_text())
        pid, url = int(holder["pid"]), str(holder["url"])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError, KeyError):
        return
    if b"scripts.orca.run" in command:
        raise ScriptError(
            f"Orca is running already: {url} (process {pid}).",
            f"Stop it with Ctrl-C where it runs, or: kill {pid}",
        )
