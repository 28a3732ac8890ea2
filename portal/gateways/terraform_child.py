"""Run as a script between a worker and its Terraform: arranges for Terraform to be told to stop when the worker dies.

Its arguments are the worker's process id and the command to become. It is a program of its own because code that
runs between fork and exec is unsafe in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    worker, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        # It may have died before this was arranged.
        if os.getppid() != worker:
            raise SystemExit(f"the worker {worker} is gone")
    os.execv(command[0], command)  # noqa: S606 (a shell would only stand in the way of the signal)


if __name__ == "__main__":
    main(sys.argv[1:])
