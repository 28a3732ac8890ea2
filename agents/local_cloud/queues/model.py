"""What a queue's messages are made of, and what a consumer asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

DEDUPLICATION_SECONDS = 300.0
MAXIMUM_INVISIBLE_SECONDS = 43200.0
#: AWS's limit of messages in flight: for a standard queue, and for a FIFO queue.
MAXIMUM_IN_FLIGHT = {False: 120_000, True: 20_000}

#: The group of every message of a standard queue; it is never locked.
NO_GROUP = ""


class StaleReceipt(Exception):
    """The receipt is not the message's newest one, or its time has passed; ``in_flight``: somebody else has it."""


class NotInFlight(Exception):
    """The message is not in flight (any more)."""


@dataclass
class Held:
    """One message and where it stands. Times in epoch seconds; ``order`` grows with every send."""

    message_id: str
    group: str
    order: int
    sent_at: float
    content: Any
    available_at: float = 0.0
    receipts: int = 0
    nonce: str = ""
    first_received_at: float = 0.0
    received_at: float = 0.0
    in_flight: bool = False
    delayed: bool = False


@dataclass(frozen=True)
class Wanted:
    """What a consumer asks for. Times in seconds.

    A message that has been received ``maximum_receipts`` times goes to ``bury`` instead. Nothing is given to a
    consumer that is not ``connected`` any more.
    """

    limit: int = 1
    wait: float = 0.0
    visibility: float = 30.0
    retention: float = float("inf")
    maximum_receipts: int | None = None
    bury: Callable[[Held], None] = lambda _: None
    connected: Callable[[], bool] = lambda: True


@dataclass
class Sent:
    """What a send with a deduplication id was answered, to be answered again."""

    message_id: str
    order: int
    at: float


@dataclass
class Group:
    """The waiting messages of one group, the oldest first, and how many of the group are in flight."""

    waiting: list[tuple[int, str]] = field(default_factory=list)
    in_flight: int = 0
