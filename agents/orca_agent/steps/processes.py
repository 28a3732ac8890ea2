"""Processes as Linux shows them in ``/proc``: who descends from whom, what they use, and how to end them all.

A warden imports this before every cold step, so it imports next to nothing.
"""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Iterable, List, Optional, Set

PAGE = os.sysconf("SC_PAGE_SIZE")
ROUNDS = 100


class Process:
    """One line of ``/proc/<pid>/stat``. ``start`` (in clock ticks after boot) and ``pid`` together are unique."""

    __slots__ = ("parent", "pid", "rss", "session", "start", "state", "threads")

    def __init__(self, pid: int, stat: bytes) -> None:
        fields = stat[stat.rindex(b")") + 2 :].split()
        self.pid = pid
        self.state = fields[0].decode()
        self.parent = int(fields[1])
        self.session = int(fields[3])
        self.threads = int(fields[17])
        self.start = int(fields[19])
        self.rss = int(fields[21]) * PAGE

    @property
    def zombie(self) -> bool:
        return self.state in "ZX"


def look(pid: int) -> Optional[Process]:
    """The process of that id, or None."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 (pathlib costs a warden 5 ms)
            return Process(pid, file.read())
    except (OSError, ValueError, IndexError):
        return None


def everything() -> List[Process]:
    found = (look(int(name)) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208
    return [process for process in found if process is not None]


def descendants(root: int) -> List[Process]:
    """All that descend from ``root``, by a scan of every process."""
    children: Dict[int, List[Process]] = {}
    for process in everything():
        children.setdefault(process.parent, []).append(process)
    found: List[Process] = []
    waiting = [root]
    while waiting:
        below = children.pop(waiting.pop(), [])
        found += below
        waiting += [process.pid for process in below]
    return found


def descendants_cheaply(root: int, enough: int = 2**31) -> List[Process]:
    """Like `descendants`, by the lists that the kernel keeps of children; one that forks meanwhile may be missed.

    Looks no further when it has found ``enough``.
    """
    found: List[Process] = []
    waiting = [root]
    while waiting and len(found) < enough:
        parent = waiting.pop()
        try:
            for task in os.listdir(f"/proc/{parent}/task"):  # noqa: PTH208
                with open(f"/proc/{parent}/task/{task}/children", "rb") as file:  # noqa: PTH123
                    waiting += [int(pid) for pid in file.read().split()]
        except FileNotFoundError:
            if parent == root:
                return descendants(root)  # a kernel without these lists
        except OSError:
            pass
        if parent != root:
            process = look(parent)
            if process is not None:
                found.append(process)
    return found


def memory_of(processes: Iterable[Process], enough: int) -> int:
    """Bytes that the processes use together; pages that they share count once only where the sum exceeds ``enough``.

    To tell shared pages apart needs a lock that a process holds while it forks, so this is no everyday
    question.
    """
    processes = list(processes)
    total = sum(process.rss for process in processes)
    if total <= enough:
        return total
    return sum(_proportional(process) for process in processes)


def _proportional(process: Process) -> int:
    try:
        with open(f"/proc/{process.pid}/smaps_rollup", "rb") as file:  # noqa: PTH123
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return process.rss


def written_by(pid: int) -> int:
    """Bytes that a process has written to files on a disk so far; 0 where that cannot be known."""
    try:
        with open(f"/proc/{pid}/io", "rb") as file:  # noqa: PTH123
            fields = dict(line.split(b":") for line in file)
        return int(fields[b"write_bytes"]) - int(fields[b"cancelled_write_bytes"])
    except (OSError, ValueError, KeyError):
        return 0


def send(pid: int, number: int) -> bool:
    """Send a signal to a process, or to a group by its negative id; False where there is none that is ours."""
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


def end_all(find: Callable[[], List[Process]], reap: Callable[[], object]) -> bool:
    """Kill all that ``find`` finds, also those that fork faster than they die. False if some would not die.

    They are stopped first until no new one appears: killing one by one only makes room for new ones.
    """
    stopped: Set[int] = set()
    for turn in range(ROUNDS):
        alive = [process for process in find() if not process.zombie]
        if not alive:
            return True
        fresh = [process.pid for process in alive if process.pid not in stopped]
        if fresh and turn < ROUNDS // 2:
            stopped.update(pid for pid in fresh if send(pid, signal.SIGSTOP))
            continue
        for process in alive:
            send(process.pid, signal.SIGKILL)
        reap()
        time.sleep(0.002 * min(turn, 10))
    return False


def is_same(pid: int, start: int) -> bool:
    """Whether the process that once had this id and start time still lives."""
    process = look(pid)
    return process is not None and process.start == start and not process.zombie
