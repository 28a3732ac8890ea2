"""What Python has no call for: a few switches of the Linux kernel, all for the calling process."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PRIORITY = -10

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def become_subreaper() -> None:
    """Descendants whose parent dies become children of this process."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Be killed when the parent ends. Must come after a change of user, which undoes it."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def no_new_privileges() -> None:
    """From here on no program can gain privileges, not even by set-user-ID."""
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def permit_priority() -> None:
    """Let this process and those that it starts, whoever they run as, go before others. Needs root."""
    try:
        resource.setrlimit(resource.RLIMIT_NICE, (20 - PRIORITY, 20 - PRIORITY))
    except (OSError, ValueError):
        return


def take_priority() -> None:
    """Go before the steps, if that is permitted: who defuses a fork bomb must not wait behind it."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    except OSError:
        return


def yield_priority() -> None:
    """Be as everybody else again, for good."""
    if os.getpriority(os.PRIO_PROCESS, 0) < 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    resource.setrlimit(resource.RLIMIT_NICE, (0, 0))


def prefer_for_oom() -> None:
    """Let the kernel, when memory is short, end this process before the agent."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 (see processes)
            file.write("500")
    except OSError:
        return


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since it started."""
    try:
        with open("/proc/vmstat", "rb") as file:  # noqa: PTH123
            for line in file:
                if line.startswith(b"oom_kill "):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0
