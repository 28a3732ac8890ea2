"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

A ``Watch`` knows how to look at the database and what of it is news; one loop looks whenever something may have
changed, and sends the news.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import StreamingHttpResponse

from portal.core import live

# A stream ends after this many seconds and the page opens a fresh one, so that deploys and lost logins take effect.
LONGEST = 600.0
# Seconds: of looks that follow each other within this time only the first comes at once, so that a burst costs few.
PAUSE = 0.02
KEEP_ALIVE = b": still here\n\n"


@dataclass(frozen=True)
class Event:
    """One event: its kind and what it says; ``cursor`` is where a reconnect goes on."""

    kind: str
    body: Any = None
    cursor: str = ""

    def encode(self) -> bytes:
        """As it goes over the wire."""
        mark = f"id: {self.cursor}\n" if self.cursor else ""
        return f"{mark}event: {self.kind}\ndata: {json.dumps(self.body)}\n\n".encode()


class Watch(Protocol):
    """Something that a page shows or a program follows; one that looks at much may have a longer ``pause``."""

    @property
    def topics(self) -> tuple[str, ...]:
        """What to listen to."""

    @property
    def over(self) -> bool:
        """Whether nothing more will change."""

    def news(self) -> list[Event]:
        """Look again; what differs from the last look. Runs in a thread of its own."""


def stream(watch: Watch) -> StreamingHttpResponse:
    """The response for a view under ASGI to give back."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(_events(watch), content_type="text/event-stream", headers=headers)


async def _events(watch: Watch) -> AsyncIterator[bytes]:
    woken = asyncio.Event()
    listener = asyncio.create_task(_listen(watch.topics, woken))
    began = time.monotonic()
    looked = 0.0
    pause: float = getattr(watch, "pause", PAUSE)
    try:
        with contextlib.suppress(TimeoutError):  # look once changes are heard, so that none falls between
            await asyncio.wait_for(woken.wait(), live.BLIND_TICK)
        while time.monotonic() - began < LONGEST:
            burst, looked = time.monotonic() - looked < 2 * pause, time.monotonic()
            woken.clear()
            for event in await _looked(watch):
                yield event.encode()
            if watch.over:
                yield Event("end").encode()
                return
            if burst:
                await asyncio.sleep(pause)
            try:
                await asyncio.wait_for(woken.wait(), live.TICK)
            except TimeoutError:
                yield KEEP_ALIVE
    finally:
        listener.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listener


async def _listen(topics: tuple[str, ...], woken: asyncio.Event) -> None:
    while True:
        async for _ in live.changes(*topics):
            woken.set()


async def _looked(watch: Watch) -> list[Event]:
    def look() -> list[Event]:
        close_old_connections()
        try:
            return watch.news()
        finally:
            close_old_connections()

    # Not in the request's own thread: a few threads, and so a few database connections, serve all open pages.
    return await sync_to_async(look, thread_sensitive=False)()
