"""A body of any size harms nobody: it is refused before it is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator

from portal.core.bodies import BodyLimit
from portal.core.serving import Handler

MOST = 10_000
PIECE = b"x" * 1_000


class Told:
    """What came back."""

    def __init__(self, start: dict[str, Any], body: dict[str, Any]) -> None:
        self.status: int = start["status"]
        self.kind: bytes = {name.lower(): value for name, value in start["headers"]}[b"content-type"]
        self.text: str = body["body"].decode()


async def told(app: Any, pieces: int, *, path: str = "/api/v1/scripts/", declared: int | None = None) -> Told:
    """The answer to a body of so many pieces, the length of which is declared or not."""
    headers = [(b"host", b"testserver"), (b"content-type", b"application/octet-stream")]
    if declared is not None:
        headers.append((b"content-length", str(declared).encode()))
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    client: Any = ApplicationCommunicator(BodyLimit(app, most_bytes=MOST), scope)  # type: ignore[no-untyped-call]
    for number in range(pieces):
        await client.send_input({"type": "http.request", "body": PIECE, "more_body": number < pieces - 1})
    return Told(await client.receive_output(), await client.receive_output())


class Counts:
    """An application that reads all that it gets, and says how much that was."""

    def __init__(self) -> None:
        self.read = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                return
            self.read += len(event["body"])
            if not event["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": str(self.read).encode()})


@pytest.mark.parametrize("declared", [None, MOST])
async def test_what_fits_is_passed_on(declared: int | None) -> None:
    answer = await told(Counts(), MOST // 1_000, declared=declared)
    assert (answer.status, answer.text) == (200, str(MOST))


async def test_a_body_that_says_how_large_it_is_is_not_read_by_the_application() -> None:
    app = Counts()
    answer = await told(app, 20, declared=20_000)
    assert (answer.status, app.read) == (413, 0)
    said = json.loads(answer.text)
    assert (said["code"], said["fields"]) == ("too_large", {})
    assert said["hint"]


async def test_a_body_that_does_not_say_it_is_cut_off() -> None:
    app = Counts()
    assert (await told(app, 20)).status == 413
    assert app.read <= MOST


async def test_who_never_ends_gets_an_answer_too() -> None:
    answer = await told(Counts(), 200, path="/scripts/new/")
    assert (answer.status, answer.kind) == (413, b"text/plain; charset=utf-8")
    assert answer.text.startswith("This is more than")


async def test_a_length_that_is_none_is_counted() -> None:
    scope = {"type": "http", "path": "/", "headers": [(b"content-length", "²".encode())]}
    app = Counts()
    client: Any = ApplicationCommunicator(BodyLimit(app, most_bytes=MOST), scope)  # type: ignore[no-untyped-call]
    await client.send_input({"type": "http.request", "body": PIECE, "more_body": False})
    assert (await client.receive_output())["status"] == 200
    await client.receive_output()


@pytest.mark.parametrize("declared", [None, 20_000])
async def test_django_gives_up_what_is_too_large(declared: int | None) -> None:
    app = Handler()
    assert (await told(app, 20, declared=declared)).status == 413
    assert (await told(app, 1)).status == 401
