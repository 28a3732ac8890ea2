"""The messages of one queue, in memory, under one lock with one condition: nothing polls, nothing spins.

Contract: "Amazon SQS FIFO queue delivery logic", "visibility timeout", "dead-letter queues" and "DeleteMessage" of the
SQS developer guide and API reference.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from agents.local_cloud.queues.model import (
    DEDUPLICATION_SECONDS,
    MAXIMUM_IN_FLIGHT,
    MAXIMUM_INVISIBLE_SECONDS,
    NO_GROUP,
    Group,
    Held,
    NotInFlight,
    Sent,
    StaleReceipt,
    Wanted,
)
from agents.local_cloud.queues.receipts import Receipt


class Messages:
    """All messages of a queue. Every public method takes the lock itself."""

    def __init__(
        self,
        *,
        fifo: bool,
        clock: Callable[[], float] = time.time,
        record: Callable[[tuple[Any, ...]], None] = lambda _: None,
    ) -> None:
        self.fifo = fifo
        self._clock = clock
        self._record = record
        self._changed = threading.Condition(threading.RLock())
        self._held: dict[str, Held] = {}
        self._groups: dict[str, Group] = {}
        #: Groups that have something to give, by their oldest message; entries may be out of date.
        self._open: list[tuple[int, str]] = []
        #: When a message comes back or its delay ends; entries may be out of date.
        self._timers: list[tuple[float, int, str]] = []
        self._sent: dict[str, Sent] = {}
        self._order = 0
        self._in_flight = 0
        self._delayed = 0
        self._closed = False

    # Sending

    def send(
        self, message_id: str, content: Any, *, group: str = NO_GROUP, deduplication: str = "", delay: float = 0.0
    ) -> Sent:
        """Add a message, or answer as before when its deduplication id was seen within five minutes."""
        with self._changed:
            now = self._clock()
            known = self._known(deduplication, now)
            if known is not None:
                return known
            self._order += 1
            held = Held(message_id, group, self._order, now, content, available_at=now + delay, delayed=delay > 0)
            self._record(("send", held, deduplication))
            return self._add(held, deduplication)

    def _known(self, deduplication: str, now: float) -> Sent | None:
        if not deduplication:
            return None
        # Insertion order is order of time: the outdated ones are in front.
        while self._sent:
            oldest = next(iter(self._sent))
            if now - self._sent[oldest].at < DEDUPLICATION_SECONDS:
                break
            del self._sent[oldest]
        return self._sent.get(deduplication)

    def _add(self, held: Held, deduplication: str) -> Sent:
        self._held[held.message_id] = held
        sent = Sent(held.message_id, held.order, held.sent_at)
        if deduplication:
            self._sent[deduplication] = sent
        if held.delayed:
            self._delayed += 1
            heapq.heappush(self._timers, (held.available_at, held.order, held.message_id))
        else:
            self._wait(held)
        self._changed.notify_all()
        return sent

    def _wait(self, held: Held) -> None:
        group = self._groups.setdefault(held.group, Group())
        heapq.heappush(group.waiting, (held.order, held.message_id))
        self._offer(held.group, group)

    def _offer(self, name: str, group: Group) -> None:
        if group.waiting and not (self.fifo and group.in_flight):
            heapq.heappush(self._open, (group.waiting[0][0], name))

    # Receiving

    def receive(self, wanted: Wanted) -> list[tuple[Held, Receipt]]:
        """Up to ``wanted.limit`` messages, as soon as there is one, else none after ``wanted.wait`` seconds."""
        until = self._clock() + wanted.wait
        while True:
            buried: list[Held] = []
            with self._changed:
                now = self._clock()
                self._pass_time(now)
                taken = self._take(wanted, now, buried)
                if not taken and not buried:
                    if now >= until or self._closed:
                        return []
                    self._changed.wait(min(until, self._next_timer(until)) - now)
            # Outside of the lock: the dead-letter queue has its own, and two queues may be each other's.
            for held in buried:
                wanted.bury(held)
                self._forget(held.message_id)
            if taken:
                return taken

    def _take(self, wanted: Wanted, now: float, buried: list[Held]) -> list[tuple[Held, Receipt]]:
        taken: list[tuple[Held, Receipt]] = []
        batch: set[str] = set()
        skipped: list[tuple[int, str]] = []
        while len(taken) < wanted.limit and self._in_flight < MAXIMUM_IN_FLIGHT[self.fifo]:
            found = self._next_waiting(batch)
            if found is None:
                break
            if not taken and not wanted.connected():
                skipped.append((found.order, found.group))
                break
            group = self._groups[found.group]
            heapq.heappop(group.waiting)
            if now - found.sent_at >= wanted.retention:
                self._drop(found)
            elif wanted.maximum_receipts is not None and found.receipts >= wanted.maximum_receipts:
                buried.append(found)
            else:
                taken.append(self._give(found, now, wanted.visibility))
                batch.add(found.group)
            if group.waiting and (not (self.fifo and group.in_flight) or found.group in batch):
                heapq.heappush(self._open, (group.waiting[0][0], found.group))
        for entry in skipped:
            heapq.heappush(self._open, entry)
        return taken

    def _next_waiting(self, batch: set[str]) -> Held | None:
        """The oldest message that may be given now; groups of this very batch may give more, in order."""
        while self._open:
            order, name = heapq.heappop(self._open)
            group = self._groups.get(name)
            if group is None or not group.waiting or group.waiting[0][0] != order:
                continue
            if self.fifo and group.in_flight and name not in batch:
                continue
            return self._held[group.waiting[0][1]]
        return None

    def _give(self, held: Held, now: float, visibility: float) -> tuple[Held, Receipt]:
        held.receipts += 1
        receipt = Receipt.new(held.message_id, held.receipts)
        held.nonce = receipt.nonce
        held.received_at = now
        held.first_received_at = held.first_received_at or now
        held.available_at = now + visibility
        held.in_flight = True
        self._in_flight += 1
        self._groups[held.group].in_flight += 1
        heapq.heappush(self._timers, (held.available_at, held.order, held.message_id))
        self._record(("receive", held.message_id, held.receipts, held.nonce, now, held.available_at))
        return held, receipt

    # Time

    def _pass_time(self, now: float) -> None:
        """Bring back what has become visible."""
        while self._timers and self._timers[0][0] <= now:
            when, _, message_id = heapq.heappop(self._timers)
            held = self._held.get(message_id)
            if held is None or held.available_at != when:
                continue
            if held.delayed:
                held.delayed = False
                self._delayed -= 1
                self._wait(held)
            elif held.in_flight:
                self._return(held)

    def _next_timer(self, otherwise: float) -> float:
        return self._timers[0][0] if self._timers else otherwise

    def _return(self, held: Held) -> None:
        """The message is visible again, at its old place."""
        self._leave_flight(held)
        self._wait(held)

    def _leave_flight(self, held: Held) -> None:
        held.in_flight = False
        self._in_flight -= 1
        group = self._groups[held.group]
        group.in_flight -= 1
        self._offer(held.group, group)
        self._changed.notify_all()

    # Acknowledging

    def delete(self, receipt: Receipt) -> None:
        """Remove the message; nothing happens if it has gone. ``StaleReceipt`` as documented there."""
        with self._changed:
            self._pass_time(self._clock())
            held = self._held.get(receipt.message_id)
            if held is None:
                return
            if held.nonce != receipt.nonce or (self.fifo and not held.in_flight):
                raise StaleReceipt
            self._remove(held)

    def change_visibility(self, receipt: Receipt, seconds: float) -> None:
        """Let the message come back ``seconds`` from now; at once for 0."""
        with self._changed:
            now = self._clock()
            self._pass_time(now)
            held = self._held.get(receipt.message_id)
            if held is None or not held.in_flight:
                raise NotInFlight
            if held.nonce != receipt.nonce:
                raise StaleReceipt
            if now + seconds - held.received_at > MAXIMUM_INVISIBLE_SECONDS:
                raise ValueError("the total visibility timeout of a message is at most 12 hours")
            held.available_at = now + seconds
            self._record(("visibility", held.message_id, held.available_at))
            if seconds <= 0:
                self._return(held)
            else:
                heapq.heappush(self._timers, (held.available_at, held.order, held.message_id))
                self._changed.notify_all()

    def _forget(self, message_id: str) -> None:
        """Remove a message that was taken out to be buried."""
        with self._changed:
            held = self._held.get(message_id)
            if held is not None:
                self._drop(held)

    def _drop(self, held: Held) -> None:
        """Remove a message that waits nowhere any more."""
        self._record(("delete", held.message_id))
        del self._held[held.message_id]
        self._tidy(held.group)

    def _remove(self, held: Held) -> None:
        self._record(("delete", held.message_id))
        self._take_out(held)
        self._tidy(held.group)

    def _take_out(self, held: Held) -> None:
        del self._held[held.message_id]
        if held.in_flight:
            self._leave_flight(held)
        elif held.delayed:
            self._delayed -= 1
        else:
            group = self._groups[held.group]
            group.waiting.remove((held.order, held.message_id))
            heapq.heapify(group.waiting)
            self._offer(held.group, group)

    def _tidy(self, name: str) -> None:
        group = self._groups.get(name)
        if group is not None and not group.waiting and not group.in_flight:
            del self._groups[name]

    def purge(self) -> None:
        """Remove every message. Deduplication ids are remembered, as on AWS."""
        with self._changed:
            self._record(("purge",))
            self._clear()

    def _clear(self) -> None:
        self._held.clear()
        self._groups.clear()
        self._open.clear()
        self._timers.clear()
        self._in_flight = self._delayed = 0

    def close(self) -> None:
        """The queue is gone: whoever waits gets nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # Keeping

    def snapshot(self) -> list[tuple[Any, ...]]:
        """Records that make these messages again, in the place of all that were recorded so far."""
        with self._changed:
            now = self._clock()
            held = sorted(self._held.values(), key=lambda one: one.order)
            fresh = {key: sent for key, sent in self._sent.items() if now - sent.at < DEDUPLICATION_SECONDS}
            return [("order", self._order), *(("held", one) for one in held), ("sent", fresh)]

    def restore(self, records: Iterable[tuple[Any, ...]]) -> None:
        """Bring an empty queue to where these records leave it."""
        with self._changed:
            for kind, *values in records:
                self._replay(kind, values)
            for held in sorted(self._held.values(), key=lambda one: one.order):
                if held.in_flight or held.delayed:
                    heapq.heappush(self._timers, (held.available_at, held.order, held.message_id))
                    self._in_flight += held.in_flight
                    self._delayed += held.delayed
                    if held.in_flight:
                        self._groups.setdefault(held.group, Group()).in_flight += 1
                else:
                    heapq.heappush(self._groups.setdefault(held.group, Group()).waiting, (held.order, held.message_id))
            for name, group in self._groups.items():
                self._offer(name, group)
            self._changed.notify_all()

    def _replay(self, kind: str, values: list[Any]) -> None:
        if kind in ("send", "held"):
            held = values[0]
            self._held[held.message_id] = held
            self._order = max(self._order, held.order)
            if kind == "send" and values[1]:
                self._sent[values[1]] = Sent(held.message_id, held.order, held.sent_at)
        elif kind == "sent":
            self._sent.update(values[0])
        elif kind == "order":
            self._order = max(self._order, values[0])
        elif kind == "purge":
            self._held.clear()
        elif kind == "delete":
            self._held.pop(values[0], None)
        elif kind == "receive" and values[0] in self._held:
            held = self._held[values[0]]
            _, held.receipts, held.nonce, held.received_at, held.available_at = values
            held.first_received_at = held.first_received_at or held.received_at
            held.in_flight, held.delayed = True, False
        elif kind == "visibility" and values[0] in self._held:
            self._held[values[0]].available_at = values[1]

    # Counting

    def counts(self) -> tuple[int, int, int]:
        """Waiting, in flight, delayed."""
        with self._changed:
            self._pass_time(self._clock())
            return len(self._held) - self._in_flight - self._delayed, self._in_flight, self._delayed
