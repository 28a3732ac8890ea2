"""Processes below this one, and how they end with it."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def leash() -> tuple[str, ...]:
    """Put before a command, it gets SIGTERM when its parent goes, however that goes; empty where nothing does it."""
    return ("setpriv", "--pdeathsig", "TERM", "--") if shutil.which("setpriv") else ()


def adopt_orphans() -> None:
    """From now on, whoever loses its parent below this process becomes a child of this process."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(pid: int) -> dict[int, str]:
    """Every living process below ``pid``: its id and its program's name."""
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = entry.read_text()
        except OSError:
            continue
        before, _, after = text.rpartition(")")
        state, parent = after.split()[:2]
        if state in "ZX":
            continue
        process = int(entry.parent.name)
        names[process] = before.partition("(")[2]
        children.setdefault(int(parent), []).append(process)
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found[child] = names[child]
            waiting.append(child)
    return found


def sweep(keep: set[int], *, patience: float, terraform_patience: float = 0) -> list[str]:
    """Ends every descendant outside ``keep``'s trees; returns the names of those that had to be killed.

    Terraform gets ``terraform_patience`` seconds to put its state away by itself; everything gets SIGTERM and
    then ``patience`` seconds before SIGKILL.
    """
    terraform_until = time.monotonic() + terraform_patience
    while time.monotonic() < terraform_until and "terraform" in _strays(keep).values():
        _reap(keep)
        time.sleep(0.1)
    for pid in _strays(keep):
        _signal(pid, signal.SIGTERM)
    until = time.monotonic() + patience
    while (left := _strays(keep)) and time.monotonic() < until:
        _reap(keep)
        time.sleep(0.05)
    for pid in left:
        _signal(pid, signal.SIGKILL)
    _reap(keep)
    return sorted(set(left.values()))


def _strays(keep: set[int]) -> dict[int, str]:
    kept = set(keep)
    for pid in keep:
        kept |= descendants(pid).keys()
    return {pid: name for pid, name in descendants(os.getpid()).items() if pid not in kept}


def _reap(keep: set[int]) -> None:
    """Takes leave of adopted children that have ended; those in ``keep`` are somebody else's to wait for."""
    for entry in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
        if int(entry) not in keep:
            try:
                os.waitpid(int(entry), os.WNOHANG)
            except ChildProcessError:
                continue


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
