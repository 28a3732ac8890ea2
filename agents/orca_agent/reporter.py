"""Sends events to the platform's queue, in order, in few calls, until they have arrived."""

from __future__ import annotations

import logging
import threading
import time
from typing import Callable, Final, List, Optional, Sequence

from agents.orca_agent.cloud.client import backoff
from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.protocol import (
    HEARTBEAT_SECONDS,
    MAX_ENVELOPE_BYTES,
    Event,
    StepLog,
    StepStarted,
    TooLarge,
    envelope_bytes,
    event_text,
)
from agents.orca_agent.spool import Spool

log = logging.getLogger(__name__)

# Seconds: how long a beginning waits for company, and the least between two tellings of ends.
GATHER: Final = 0.02
APART: Final = 0.05
BEATS_APART: Final = 1.0

ROOM: Final = MAX_ENVELOPE_BYTES - 2_000
MOST: Final = 500
REFUSED: Final = frozenset(
    {"InvalidMessageContents", "InvalidParameterValue", "InvalidParameterValueException", "InvalidRequest"}
)


class Reporter:
    """``sign`` makes an envelope of events, ``send`` gives it to the queue, ``heartbeat`` says how we are.

    A heartbeat is not kept: where sending takes several attempts, the latest one goes along.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        sign: Callable[[Sequence[str]], str],
        send: Callable[[str], object],
        heartbeat: Callable[[], Event],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool = spool
        self._sign = sign
        self._send = send
        self._heartbeat = heartbeat
        self._clock = clock
        self._changed = threading.Condition()
        self._next_beat = clock()
        self._last_beat = float("-inf")
        self._last_urgent = float("-inf")
        self._urgent = False
        self._deadline: Optional[float] = None
        self._most = MOST
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def emit(self, event: Event) -> bool:
        """Take an event; it will arrive. Only lines of a log are dropped (False) when far too much waits."""
        if isinstance(event, StepLog) and self._spool.full:
            return False
        self._spool.append(event_text(event))
        with self._changed:
            self._urgent = self._urgent or not isinstance(event, (StepStarted, StepLog))
            self._changed.notify()
        return True

    def beat(self) -> None:
        """Send a heartbeat soon, because something has changed."""
        with self._changed:
            self._next_beat = min(self._next_beat, max(self._clock(), self._last_beat + BEATS_APART))
            self._changed.notify()

    def close(self, timeout: float) -> bool:
        """Send what waits, for at most ``timeout`` seconds; False if something is left for the next start."""
        with self._changed:
            self._deadline = self._clock() + timeout
            self._changed.notify()
        self._thread.join(timeout + 5)
        return self._spool.waiting == 0

    def _run(self) -> None:
        failures = 0
        while self._wait_for_work():
            try:
                self._send_some()
                failures = 0
            except CloudError as error:
                failures += 1
                log.log(
                    logging.WARNING if failures in (3, 30, 300) else logging.DEBUG,
                    "events cannot be sent: %s",
                    error,
                )
                with self._changed:
                    self._changed.wait_for(self._is_late, backoff(failures))

    def _is_late(self) -> bool:
        return self._deadline is not None and self._clock() >= self._deadline

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not self._spool.waiting and self._clock() < self._next_beat:
                if self._deadline is not None:
                    return False
                self._changed.wait(self._next_beat - self._clock())
            self._gather()
            return not self._is_late()

    def _gather(self) -> None:
        """Wait a moment for company: a beginning may be followed by its end at once, and an end by many others."""
        until = self._clock() + GATHER
        while self._deadline is None:
            if self._urgent:
                until = self._last_urgent + APART
            if self._clock() >= until:
                break
            self._changed.wait(until - self._clock())
        if self._urgent:
            self._last_urgent = self._clock()
        self._urgent = False

    def _send_some(self) -> None:
        lines = self._choose()
        with self._changed:
            beat_due = self._clock() >= self._next_beat
            if beat_due:
                self._last_beat = self._clock()
                self._next_beat = self._clock() + HEARTBEAT_SECONDS
        texts = [*lines, event_text(self._heartbeat())] if beat_due else lines
        try:
            self._send(self._sign(texts))
        except (CloudError, TooLarge) as error:
            if isinstance(error, TooLarge) or error.code in REFUSED:
                self._set_aside(lines, error)
                return
            if beat_due:
                self._next_beat = self._last_beat
            raise
        self._most = MOST
        self._spool.confirm(lines)

    def _choose(self) -> List[str]:
        chosen: List[str] = []
        room = ROOM
        for line in self._spool.peek(ROOM)[: self._most]:
            room -= envelope_bytes(line)
            if room < 0 and chosen:
                break
            chosen.append(line)
        return chosen

    def _set_aside(self, lines: Sequence[str], error: Exception) -> None:
        """One event that the queue will never take must not hold up the others: find it, and let it go."""
        if len(lines) > 1:
            self._most = 1
            return
        log.error("an event was refused and is dropped: %s: %.300s", error, lines[0] if lines else "heartbeat")
        self._spool.confirm(lines)
