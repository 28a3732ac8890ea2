"""What the scripts say while they work: one line a step, with seconds, and errors that name the way out."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class ScriptError(Exception):
    """A command cannot go on.

    ``hint`` says what to do about it; ``detail`` is shown as it is (the end of a log, a command's output).
    """

    def __init__(self, message: str, hint: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail


def say(line: str = "") -> None:
    """One line on standard output, at once."""
    print(line, flush=True)


def complain(error: ScriptError) -> None:
    """Shows an error on standard error."""
    if error.detail:
        print(error.detail.rstrip(), file=sys.stderr)
    print(f"\n{error.message}", file=sys.stderr)
    if error.hint:
        print("\n".join(f"  {line}" for line in error.hint.splitlines()), file=sys.stderr)
    sys.stderr.flush()


@contextmanager
def step(name: str) -> Iterator[None]:
    """Announces ``name`` once it has taken a second, and says how long it took; quicker steps stay silent."""
    started = time.monotonic()
    announced = threading.Event()

    def announce() -> None:
        announced.set()
        say(f"  {name} ...")

    timer = threading.Timer(1.0, announce)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if announced.is_set():
        say(f"  {name}: {time.monotonic() - started:.1f} s")
