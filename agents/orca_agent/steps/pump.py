"""Carries what a running step prints into its log, until it has ended."""

from __future__ import annotations

import os
import select
import time
from typing import Final, List, Protocol, Tuple

from agents.orca_agent.steps.process import Ending, StepProcess

BLOCK: Final = 256 * 1024
AFTER_END: Final = 2.0
TAIL: Final = 16 * 1024


class Sink(Protocol):
    """Where the bytes go. ``due`` says in how many seconds ``flush`` should be called."""

    def write(self, stream: str, data: bytes) -> None: ...

    def due(self) -> float: ...

    def flush(self) -> None: ...


class Tail:
    """Passes everything on, and remembers the end of it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._last = b""

    def write(self, stream: str, data: bytes) -> None:
        self._last = (self._last + data)[-TAIL:]
        self._sink.write(stream, data)

    def due(self) -> float:
        return self._sink.due()

    def flush(self) -> None:
        self._sink.flush()

    def lines(self) -> List[str]:
        return self._last.decode("utf-8", "replace").split("\n")


def pump(process: StepProcess, sink: Sink, *, seconds: float, streams: Tuple[str, str] = ("out", "err")) -> Ending:
    """Until the step has ended and all that it printed is read. ``seconds``: then its warden must have hung."""
    names = {process.out: streams[0], process.err: streams[1]}
    channel = process.channel.fileno()
    opened = {*names} if process.ending else {*names, channel}
    poll = select.poll()
    for descriptor in opened:
        poll.register(descriptor, select.POLLIN)
    until = time.monotonic() + (AFTER_END if process.ending else seconds)
    while opened:
        left = until - time.monotonic()
        if left <= 0:
            break
        for descriptor, _ in poll.poll(max(1.0, min(left, sink.due()) * 1000)):
            if descriptor == channel:
                alive = process.hear() and process.ending is None
                if not alive:
                    until = min(until, time.monotonic() + AFTER_END)
            else:
                data = os.read(descriptor, BLOCK)
                alive = bool(data)
                sink.write(names[descriptor], data)
            if not alive:
                poll.unregister(descriptor)
                opened.discard(descriptor)
        if sink.due() <= 0:
            sink.flush()
    return process.ending or Ending(failed="The process that watches over the step did not answer any more.")
