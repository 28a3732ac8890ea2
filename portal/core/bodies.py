"""How much a request may carry, whoever sends it.

Under ASGI Django keeps a body on disk before it looks at anything else; so one without end would fill the disk.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from portal.core.api import problem

Scope = dict[str, Any]
Event = Mapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# So much of what is refused is still heard, times the limit: who hears no answer before all is said gets one.
HEARD = 5


class BodyLimit:
    """An ASGI application in front of another: answers 413 to bodies of more than ``most_bytes``."""

    def __init__(self, app: Application, *, most_bytes: int) -> None:
        self.app = app
        self.most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(receive, self.most_bytes)
        if _declared(scope) <= self.most_bytes:
            await self.app(scope, body.receive, send)
        else:
            body.is_over = True
        if body.is_over:
            await body.hear(HEARD * self.most_bytes)
            await self._refuse(scope, send)

    async def _refuse(self, scope: Scope, send: Send) -> None:
        message = f"This is more than {self.most_bytes // 1_000_000} MB."
        hint = "Put data into the workspace's bucket and let the script read it from there."
        if scope["path"].startswith("/api/"):
            kind, text = b"application/json", json.dumps(problem("too_large", message, hint))
        else:
            kind, text = b"text/plain; charset=utf-8", f"{message} {hint}"
        headers = [(b"content-type", kind), (b"content-length", str(len(text.encode())).encode())]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})


def _declared(scope: Scope) -> int:
    length = dict(scope["headers"]).get(b"content-length", b"")
    return int(length) if length.isdigit() else 0


class _Body:
    """A request's body on its way; who reads more of it than the limit is told that the client has gone."""

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self.is_over = False
        self._receive = receive
        self._left = most_bytes
        self._more = True

    async def receive(self) -> Event:
        event = await self._receive()
        if event["type"] == "http.request":
            self._more = event["more_body"]
            self._left -= len(event["body"])
            if self._left < 0:
                self.is_over = True
                return {"type": "http.disconnect"}
        return event

    async def hear(self, most_bytes: int) -> None:
        """Take the rest of the body, and keep nothing of it."""
        while self._more and most_bytes > 0:
            event = await self._receive()
            if event["type"] != "http.request":
                return
            self._more = event["more_body"]
            most_bytes -= len(event["body"])
