"""Server-sent events for open pages (https://html.spec.whatwg.org/multipage/server-sent-events.html).

A ``Watch`` knows how to look at the database and what of it is news; one loop looks whenever something may have
changed, and sends the news. The page's side is ``static/orca/live.js``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import StreamingHttpResponse

from portal.core import live

# A stream ends after this many seconds and the page opens a fresh one, so that deploys and lost logins take effect.
LONGEST = 600.0
# Between two looks, so that a burst of changes costs few.
PAUSE = 0.1
KEEP_ALIVE = b": still here\n\n"


@dataclass(frozen=True)
class Event:
    """One event: ``swap`` (element id to HTML), ``lines`` or ``end``; ``cursor`` is where a reconnect goes on."""

    kind: str
    body: Any = None
    cursor: str = ""

    def encode(self) -> bytes:
        """As it goes over the wire."""
        mark = f"id: {self.cursor}\n" if self.cursor else ""
        return f"{mark}event: {self.kind}\ndata: {json.dumps(self.body)}\n\n".encode()


class Watch(Protocol):
    """Something that a page shows."""

    @property
    def topics(self) -> tuple[str, ...]:
        """What to listen to."""

    @property
    def over(self) -> bool:
        """Whether nothing more will change."""

    def news(self) -> list[Event]:
        """Look again; what differs from the last look. Runs in a thread of its own."""


class Fragments:
    """A watch of parts of a page, each drawn anew and sent when it has become different.

    ``draw`` gives element ids and their HTML, and sets ``over`` once nothing more will change.
    """

    # What the page itself keeps right (templatetags ``ago`` and ``duration``) is no news.
    _CLOCKS = re.compile(r"(<(?:time|span)[^>]*\bdata-(?:ago|since)\b[^>]*>)[^<]*")

    def __init__(self, *topics: str, draw: Callable[[], Mapping[str, str]]) -> None:
        self.topics = topics
        self.over = False
        self._draw = draw
        self._sent: dict[str, str] = {}

    def news(self) -> list[Event]:
        """The parts that changed; at first all of them."""
        changed = self.changed(self._draw())
        return [Event("swap", changed)] if changed else []

    def changed(self, drawn: Mapping[str, str]) -> dict[str, str]:
        """Those of the parts that differ from what was sent last."""
        plain = {name: self._CLOCKS.sub(r"\1", html) for name, html in drawn.items()}
        found = {name: html for name, html in drawn.items() if self._sent.get(name) != plain[name]}
        self._sent |= plain
        return found


def stream(watch: Watch) -> StreamingHttpResponse:
    """The response that an async view gives back."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(_events(watch), content_type="text/event-stream", headers=headers)


async def _events(watch: Watch) -> AsyncIterator[bytes]:
    woken = asyncio.Event()
    listener = asyncio.create_task(_listen(watch.topics, woken))
    began = time.monotonic()
    try:
        while time.monotonic() - began < LONGEST:
            woken.clear()
            for event in await _looked(watch):
                yield event.encode()
            if watch.over:
                yield Event("end").encode()
                return
            await asyncio.sleep(PAUSE)
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
