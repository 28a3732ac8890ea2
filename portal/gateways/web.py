"""Reading from addresses that a person gave us: never inside our own network, never too much, never for too long.

What may be connected to is judged by the very address of each connection, so neither a name that means something else
the second time nor a redirect leads inside. No proxy is asked, nothing of ours is sent along.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urljoin, urlsplit

from portal.core.errors import OrcaError
from portal.gateways.web_connection import Broken, Connection, Inside, Response, TooLarge, connected
from portal.gateways.webhook import Address, allowed, retry_seconds, trust

MOST_BYTES: Final = 32 * 1024 * 1024
_MOST_REDIRECTS = 5
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45}")
# What may stand in an address as it is.
_UNQUOTED: Final = "/%:@!$&'()*+,;=?~-._[]"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What passes: too busy, or broken for a moment.
_PASSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_SENT = (
    "User-Agent: Orca\r\nAccept: application/json, application/geo+json;q=0.9, */*;q=0.5\r\nAccept-Encoding: gzip\r\n"
)


class Unread(OrcaError):
    """It could not be read; ``retryable`` tells whether the same call may work later, ``retry_after`` when (s).

    ``answered``: the HTTP status, where there was an answer.
    """

    status = 502
    code = "unread"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str = "",
        retryable: bool = False,
        retry_after: float | None = None,
        answered: int | None = None,
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.retryable = retryable
        self.retry_after = retry_after
        self.answered = answered


@dataclass(frozen=True)
class Answer:
    """What was read: the address that gave it after all redirects, its whole body, and its tag if it has one.

    ``same``: it has not changed since ``etag`` was given, and the body is empty. ``length``: of the whole, if told.
    """

    url: str
    body: bytes
    etag: str = ""
    same: bool = False
    length: int | None = None


@dataclass(frozen=True)
class _Place:
    """Where an address leads: to whom to connect, and what to ask for there."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def named(self) -> str:
        """As the Host header says it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class Web:
    """An async context in which addresses are read over connections that are kept.

    ``private``: addresses of this machine and of private networks are allowed, its metadata never.
    """

    def __init__(self, *, private: bool, at_once: int = 32) -> None:
        self._private = private
        self._turns = asyncio.Semaphore(at_once)
        self._idle: dict[tuple[str, str, int], list[Connection]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # so that the transports let go of their sockets

    async def read(
        self,
        url: str,
        *,
        within: float,
        method: str = "GET",
        body: Any = None,
        etag: str = "",
        most: int = MOST_BYTES,
    ) -> Answer:
        """The answer of an address, ``body`` posted as JSON. Raises ``Unread`` for all but a success.

        ``within``: seconds for all of it, redirects included. ``most``: bytes, unpacked.
        """
        try:
            async with asyncio.timeout(within), self._turns:
                return await self._followed(url, method, body, etag, most)
        except TimeoutError as error:
            raise Unread(f"It did not answer within {within:.0f} seconds.", retryable=True) from error
        except TooLarge as error:
            raise Unread(f"It is larger than {most / (1024 * 1024):.0f} MB.") from error
        except OSError as error:
            raise _unread(error) from error
        except ValueError as error:  # of an address that it redirects to
            raise Unread("This is no address that can be read.") from error

    async def _followed(self, url: str, method: str, body: Any, etag: str, most: int) -> Answer:
        for _ in range(_MOST_REDIRECTS + 1):
            response = await self._asked(_place(url), method, body, etag, most)
            if response.status not in _REDIRECTS:
                return _answer(response, url, most)
            url = urljoin(url, response.headers.get("location", ""))
            if response.status == 303:
                method, body = "GET", None
        raise Unread("It redirects again and again.")

    async def _asked(self, place: _Place, method: str, body: Any, etag: str, most: int) -> Response:
        request = _request(place, method, body, etag)
        idle = self._idle.setdefault((place.scheme, place.host, place.port), [])
        while idle:
            connection = idle.pop()
            try:
                return await self._over(connection, idle, request, method, most)
            except Broken as error:
                # It was closed while nobody used it; nothing was lost.
                if not error.early:
                    raise
        tls = trust() if place.scheme == "https" else None
        connection = await connected(place.host, place.port, tls=tls, fit=self._fit)
        return await self._over(connection, idle, request, method, most)

    async def _over(
        self, connection: Connection, idle: list[Connection], request: bytes, method: str, most: int
    ) -> Response:
        response = await connection.ask(request, most=most, head=method == "HEAD")
        if connection.usable:
            idle.append(connection)
        return response

    def _fit(self, address: Address) -> bool:
        return allowed(address, private=self._private)


@lru_cache(maxsize=256)
def _origin(scheme: str, netloc: str) -> tuple[str, int]:
    """Host and port. Raises ``ValueError``."""
    parts = urlsplit(f"{scheme}://{netloc}")
    host = (parts.hostname or "").encode("idna").decode() if "[" not in netloc else parts.hostname or ""
    if not _HOST.fullmatch(host) or parts.username is not None:
        raise ValueError("no host")
    return host, parts.port or _PORTS[scheme]


def _place(url: str) -> _Place:
    scheme, _, rest = url.partition("#")[0].partition("://")
    scheme = scheme.lower()
    if scheme not in _PORTS:
        raise Unread("This is no address that begins with http:// or https://.")
    cut = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    try:
        host, port = _origin(scheme, rest[:cut])
    except ValueError as error:  # UnicodeError among them
        raise Unread("This is no address that can be read.") from error
    target = rest[cut:]
    return _Place(scheme, host, port, quote(target if target.startswith("/") else f"/{target}", safe=_UNQUOTED))


def _request(place: _Place, method: str, body: Any, etag: str) -> bytes:
    head = f"{method} {place.target} HTTP/1.1\r\nHost: {place.named}\r\n{_SENT}"
    if etag and etag.isascii() and etag.isprintable():
        head += f"If-None-Match: {etag}\r\n"
    if body is None:
        return f"{head}\r\n".encode()
    content = json.dumps(body).encode()
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def _answer(response: Response, url: str, most: int) -> Answer:
    etag, length = response.headers.get("etag", ""), response.headers.get("content-length", "")
    if response.status == 304:
        return Answer(url, b"", etag=etag, same=True)
    if not 200 <= response.status < 300:
        asked = response.headers.get("retry-after")
        raise Unread(
            f"It answered with status {response.status}.",
            retryable=response.status in _PASSES,
            retry_after=retry_seconds(asked) if asked else None,
            answered=response.status,
        )
    return Answer(url, response.unpacked(most), etag=etag, length=int(length) if length.isdigit() else None)


def _unread(error: OSError) -> Unread:
    """What went wrong on the way, in a sentence."""
    if isinstance(error, Inside):
        return Unread("It is an address inside a private network, where Orca does not read.")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unread(f"Its certificate is not trusted: {error.verify_message}.")
    if isinstance(error, socket.gaierror):
        return Unread("Its name is not known.", retryable=error.errno == socket.EAI_AGAIN)
    said = error.strerror or str(error) or type(error).__name__
    return Unread(f"It cannot be reached: {said}.", retryable=True)
