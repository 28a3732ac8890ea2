"""What processes take of the machine's memory, as Linux counts it in ``/proc``."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

_PROC: Final = Path("/proc")

Kind = Literal["Pss", "Rss"]
"""``Pss`` divides a page among the processes that share it; ``Rss`` counts it for each of them."""


def family(*pids: int) -> set[int]:
    """These processes and all that descend from them."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                children.setdefault(_fields(int(entry.name))[1], []).append(int(entry.name))
    found: set[int] = set()
    left = list(pids)
    while left:
        pid = left.pop()
        if pid not in found:
            found.add(pid)
            left += children.get(pid, [])
    return found


def memory_mb(pids: Iterable[int], kind: Kind = "Pss") -> float:
    """Megabytes (of 2**20 bytes) of all these processes together; one that has ended counts nothing."""
    kilobytes = 0
    for pid in pids:
        with suppress(OSError):
            for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith(f"{kind}:"):
                    kilobytes += int(line.split()[1])
    return kilobytes / 1024


def memory_alone_mb(pids: Iterable[int]) -> float:
    """What these processes would take on a machine with nothing else on it.

    Pages of a file that only they map count once for all of them, however many others happen to map it here and now
    and would each pay a share in ``Pss``.
    """
    private, shared = 0, dict[str, int]()
    for pid in pids:
        with suppress(OSError):
            own, mapped = _pages(pid)
            private += own
            shared |= {name: max(size, shared.get(name, 0)) for name, size in mapped.items()}
    return (private + sum(shared.values())) / 1024


def _pages(pid: int) -> tuple[int, dict[str, int]]:
    """Kilobytes that a process has for itself, and those that it shares, by the file that they come from."""
    own, mapped, file = 0, dict[str, int](), ""
    for line in (_PROC / str(pid) / "smaps").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name.startswith("Private_"):
            own += int(rest.split()[0])
        elif name in {"Shared_Clean", "Shared_Dirty"}:
            mapped[file] = mapped.get(file, 0) + int(rest.split()[0])
        elif " " in name:  # the head of a mapping: addresses, rights, offset, device, inode, file
            file = line.split(maxsplit=5)[-1]
    return own, mapped


def cpu_ticks(pids: Iterable[int]) -> int:
    """Processor time that these processes have used, in the kernel's ticks."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            ticks += sum(_fields(pid)[11:13])
    return ticks


def wait_until_idle(pid: int, *, quiet: float = 1.0, longest: float = 30.0) -> None:
    """Until a process and its descendants have used no processor time for ``quiet`` seconds."""
    deadline = time.monotonic() + longest
    before = (set[int](), -1)
    while time.monotonic() < deadline:
        processes = family(pid)
        now = (processes, cpu_ticks(processes))
        if now == before:
            return
        before = now
        time.sleep(quiet)
    raise TimeoutError(f"process {pid} has not come to rest within {longest:.0f} s")


@contextmanager
def sampled_mb(pid: int, *, every: float = 1.0) -> Iterator[list[float]]:
    """A list that grows by the memory of a process and its descendants until the block ends."""
    samples: list[float] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(every):
            samples.append(memory_mb(family(pid)))

    thread = threading.Thread(target=look, name="memory", daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def _fields(pid: int) -> list[int]:
    """What ``/proc/<pid>/stat`` says after the name and the state: from the parent's id on, at index 1."""
    words = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return [0, *map(int, words[1:])]
