"""Stands between a worker and its Terraform, as a process of its own: ``terraform_child.py WORKER COMMAND...``.

When the worker dies, however it dies, Terraform must be told to stop, and must be told once: upon a second signal it
drops everything and its state is lost. Linux signals the death of a parent once for each of the parent's threads, so
Terraform's parent has to be a process with one thread, which passes the first signal on and ignores all others.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


_STOPS = (signal.SIGINT, signal.SIGTERM)


def main(arguments: list[str]) -> None:
    worker, command = int(arguments[0]), arguments[1:]
    # Held back until there is someone to pass them on to.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    _be_told_of_the_end_of(worker)
    me = os.getpid()
    terraform = os.fork()
    if terraform == 0:
        for number in (*_STOPS, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        _be_told_of_the_end_of(me)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
        os.execv(command[0], command)  # noqa: S606 (a shell would only stand in the way of the signals)
    _pass_on_once(terraform)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    _end_like(os.waitpid(terraform, 0)[1])


def _pass_on_once(terraform: int) -> None:
    told = False

    def tell(*_: object) -> None:
        nonlocal told
        if not told:
            told = True
            os.kill(terraform, signal.SIGINT)

    for number in _STOPS:
        signal.signal(number, tell)


def _be_told_of_the_end_of(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        # It may have ended before this was arranged.
        if os.getppid() != parent:
            os._exit(1)


def _end_like(status: int) -> None:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if -code not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
