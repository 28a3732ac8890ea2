"""How requests are served: by threads that stay, with connections that stay, streams and lost clients included."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.urls import path
from pytest_django import Settings

from portal.accounts.models import User
from portal.core.serving import THREADS_KEPT, Handler

pytestmark = pytest.mark.django_db(transaction=True)

together = threading.Barrier(2)
closed = threading.Event()
begun, finish = threading.Event(), threading.Event()
wrappers: list[Any] = []


def whoami() -> dict[str, int]:
    connection.ensure_connection()
    return {"thread": threading.get_ident(), "connection": id(connection.connection)}


def connection_used() -> Any:
    """Django's part of the thread's connection, after a query."""
    User.objects.count()
    return connections["default"]


def plain(request: HttpRequest) -> JsonResponse:
    return JsonResponse(whoami())


def meeting(request: HttpRequest) -> JsonResponse:
    together.wait(20)
    return JsonResponse(whoami())


def broken(request: HttpRequest) -> JsonResponse:
    raise RuntimeError("on purpose")


def slow(request: HttpRequest) -> JsonResponse:
    begun.set()
    finish.wait(20)
    return JsonResponse({})


async def asynchronous(request: HttpRequest) -> JsonResponse:
    await asyncio.sleep(0)
    people = await sync_to_async(User.objects.count)()
    return JsonResponse({**await sync_to_async(whoami)(), "people": people, "loop": threading.get_ident()})


async def endless(request: HttpRequest) -> StreamingHttpResponse:
    await sync_to_async(lambda: wrappers.append(connection_used()))()

    async def parts() -> AsyncIterator[bytes]:
        try:
            for number in range(1_000):
                yield b"part %d\n" % number
                await asyncio.sleep(0.01)
        finally:
            closed.set()

    return StreamingHttpResponse(parts())


urlpatterns = [
    path("plain/", plain),
    path("meeting/", meeting),
    path("broken/", broken),
    path("slow/", slow),
    path("asynchronous/", asynchronous),
    path("endless/", endless),
]


@pytest.fixture
def handler(settings: Settings) -> Iterator[Handler]:
    settings.ROOT_URLCONF = __name__
    found = Handler()
    yield found
    for thread in found._idle:
        thread.submit(connections.close_all).result(20)
        thread.shutdown()


class Client:
    """One request: what the server of an ASGI application does."""

    def __init__(self, handler: Handler, address: str) -> None:
        self.status = 0
        self.parts: list[bytes] = []
        self.heard = asyncio.Event()
        self.gone = asyncio.Event()
        self._asked = False
        scope: Any = {
            "type": "http",
            "method": "GET",
            "path": address,
            "query_string": b"",
            "headers": [(b"host", b"testserver")],
        }
        self.task = asyncio.create_task(handler(scope, self.receive, self.send))

    async def receive(self) -> Any:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.parts.append(message.get("body", b""))
        if message.get("body"):
            self.heard.set()

    async def answer(self) -> Any:
        await asyncio.wait_for(self.task, 20)
        assert self.status == 200
        return json.loads(b"".join(self.parts))


async def test_thread_and_connection_serve_the_next_request_too(handler: Handler) -> None:
    first, second = [await Client(handler, "/plain/").answer() for _ in range(2)]
    assert first == second
    assert first["thread"] != threading.get_ident()


async def test_requests_at_the_same_time_have_threads_of_their_own(handler: Handler) -> None:
    one, other = await asyncio.gather(*(Client(handler, "/meeting/").answer() for _ in range(2)))
    assert one["thread"] != other["thread"]
    assert one["connection"] != other["connection"]
    assert len(handler._idle) == 2


async def test_an_asynchronous_view_runs_in_the_loop_and_its_queries_in_the_thread(handler: Handler) -> None:
    before = await Client(handler, "/plain/").answer()
    found = await Client(handler, "/asynchronous/").answer()
    assert found == {**before, "people": 0, "loop": threading.get_ident()}


async def test_a_client_that_leaves_ends_its_stream_and_frees_its_thread(handler: Handler) -> None:
    closed.clear()
    client = Client(handler, "/endless/")
    await asyncio.wait_for(client.heard.wait(), 20)
    assert handler._idle == []
    client.gone.set()
    await asyncio.wait_for(client.task, 20)
    assert closed.is_set()
    assert len(handler._idle) == 1
    assert (await Client(handler, "/plain/").answer())["thread"]


async def test_a_thread_is_nobody_elses_while_it_works_for_a_client_that_left(handler: Handler) -> None:
    client = Client(handler, "/slow/")
    assert await asyncio.to_thread(begun.wait, 20)
    client.gone.set()
    assert (await Client(handler, "/plain/").answer())["thread"]
    assert len(handler._idle) == 1
    finish.set()
    await asyncio.wait_for(client.task, 20)
    assert len(handler._idle) == 2


async def test_an_open_stream_holds_no_connection(handler: Handler) -> None:
    wrappers.clear()
    client = Client(handler, "/endless/")
    await asyncio.wait_for(client.heard.wait(), 20)
    assert [wrapper.connection for wrapper in wrappers] == [None]
    client.gone.set()
    await asyncio.wait_for(client.task, 20)


async def test_a_view_that_breaks_leaves_its_thread_to_others(handler: Handler) -> None:
    broken_one = Client(handler, "/broken/")
    await asyncio.wait_for(broken_one.task, 20)
    assert broken_one.status == 500
    assert len(handler._idle) == 1
    await Client(handler, "/plain/").answer()


async def test_no_more_threads_are_kept_than_are_of_use(handler: Handler) -> None:
    clients = [Client(handler, "/endless/") for _ in range(THREADS_KEPT + 4)]
    await asyncio.wait_for(asyncio.gather(*(client.heard.wait() for client in clients)), 30)
    for client in clients:
        client.gone.set()
    await asyncio.wait_for(asyncio.gather(*(client.task for client in clients)), 30)
    assert len(handler._idle) == THREADS_KEPT


async def test_only_http_is_served(handler: Handler) -> None:
    scope: Any = {"type": "websocket"}
    with pytest.raises(ValueError, match="websocket"):
        await handler(scope, None, None)  # type: ignore[arg-type]
