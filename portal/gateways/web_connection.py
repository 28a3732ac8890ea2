"""One HTTP/1.1 connection that is kept, for whoever reads thousands of small documents.

The parser is uvicorn's (httptools, over Node's llhttp). A general client spends three times as long on each request as
this does on all of it, and a walk through a catalogue is little else.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any, Final, cast

import httptools

from portal.gateways.webhook import Address

_MOST_HEADERS: Final = 64 * 1024
_CONNECT_SECONDS = 10.0


class Inside(OSError):
    """None of a name's addresses is for us to connect to."""


class TooLarge(Exception):
    """The body has more bytes than are read."""


class Broken(ConnectionError):
    """The connection ended before its answer did; ``early``: before there was any of it."""

    def __init__(self, message: str, *, early: bool = False) -> None:
        super().__init__(message)
        self.early = early


@dataclass(slots=True)
class Response:
    """A status, the headers by their name in small letters, and the body as it was sent."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def unpacked(self, most: int) -> bytes:
        """The body without its compression. Raises ``TooLarge``, and ``Broken`` where it is none."""
        if self.headers.get("content-encoding", "identity") not in {"gzip", "x-gzip", "deflate"}:
            return self.body
        packed = zlib.decompressobj(47)
        try:
            found = packed.decompress(self.body, most + 1)
        except zlib.error as error:
            raise Broken("what it sent cannot be unpacked") from error
        if len(found) > most:
            raise TooLarge
        return found


async def connected(host: str, port: int, *, tls: SSLContext | None, fit: Callable[[Address], bool]) -> Connection:
    """A connection to the first of a name's addresses that fits and answers. Raises ``OSError``, ``Inside``."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    places = [each for each in found if fit(ipaddress.ip_address(str(each[4][0]).partition("%")[0]))]
    if not places:
        raise Inside
    for place in places[:-1]:
        try:
            return await _connected(place, host, tls)
        except (OSError, TimeoutError):
            continue
    return await _connected(places[-1], host, tls)


async def _connected(place: tuple[Any, ...], host: str, tls: SSLContext | None) -> Connection:
    """To the very address that was judged: nobody asks again what the name means."""
    family, kind, protocol, _, address = place
    loop, made = asyncio.get_running_loop(), socket.socket(family, kind, protocol)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(_CONNECT_SECONDS):
            await loop.sock_connect(made, address)
            _, connection = await loop.create_connection(
                Connection, sock=made, ssl=tls, server_hostname=host if tls else None
            )
    except BaseException:
        made.close()
        raise
    return connection


class Connection(asyncio.Protocol):
    """One request at a time; ``usable`` tells whether there may be another."""

    def __init__(self) -> None:
        self.usable = True
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[Response] | None = None
        self._most = 0
        self._headless = False
        self._begin()

    def _begin(self) -> None:
        self._response = Response()
        self._chunks: list[bytes] = []
        self._size = self._heard = 0
        self._headed = self._ended = False

    async def ask(self, request: bytes, *, most: int, head: bool = False) -> Response:
        """The answer to a request. ``head``: it has no body. Raises ``Broken``, ``TooLarge``."""
        if self._transport is None or not self.usable:
            raise Broken("the connection is closed", early=True)
        self._begin()
        self._most, self._headless = most, head
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._waiting
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop it, whatever is under way."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's. The end is also how an answer ends that does not tell its length."""
        self.usable = False
        headers = self._response.headers
        if exc is None and self._headed and not {"content-length", "transfer-encoding"} & headers.keys():
            self._end()
        else:
            self._fail(Broken(str(exc or "it closed the connection"), early=not self._heard))

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        self._heard += len(data)
        if (
            self._waiting is None
            or self._waiting.done()
            or (not self._headed and self._heard > _MOST_HEADERS + len(data))
        ):
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, UnicodeError) as error:
            self._fail(Broken(f"what it says is no HTTP ({type(error).__name__})"))

    def on_message_begin(self) -> None:
        """The parser's. What comes after an answer was asked for by nobody: it must not answer the next request."""
        if self._ended:
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser's."""
        if self._ended:
            return
        self._response.headers[name.decode("latin-1").lower()] = value.decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        """The parser's."""
        if self._ended:
            return
        self._response.status = self._parser.get_status_code()
        if self._response.status < 200:
            return
        self._headed = True
        length = self._response.headers.get("content-length", "")
        if self._headless:
            self._finish(again=False)  # the parser would wait for a body that does not come
        elif length.isdigit() and int(length) > self._most:
            self._fail(TooLarge())

    def on_body(self, body: bytes) -> None:
        """The parser's."""
        if self._ended:
            return
        self._size += len(body)
        if self._size > self._most:
            self._fail(TooLarge())
        else:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        """The parser's."""
        if self._response.status < 200:
            self._response = Response()
        elif not self._ended:
            self._finish(again=self._parser.should_keep_alive())

    def _finish(self, *, again: bool) -> None:
        self._end()
        if not again:
            self.close()

    def _end(self) -> None:
        self._ended = True
        self._response.body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._response)

    def _fail(self, error: Exception) -> None:
        self.close()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)
