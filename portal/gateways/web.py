"""Reading from addresses that a person gave us: never inside our own network, never too much, never for too long.

What may be connected to is judged by the very address of each connection, so neither a name that means something else
the second time nor a redirect leads inside. No proxy is asked, nothing of ours is sent along.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from portal.core.errors import OrcaError
from portal.gateways.webhook import allowed, retry_seconds, trust

MOST_BYTES: Final = 32 * 1024 * 1024
_MOST_REDIRECTS = 5
_CHUNK = 256 * 1024
# An address in which nothing needs to be quoted, which would take as long as a good part of the request.
_PLAIN = re.compile(r"https?://[a-z0-9.:-]+/[A-Za-z0-9/._~-]*")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What passes: too busy, or broken for a moment.
_PASSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_ASKED = {"User-Agent": "Orca", "Accept": "application/json, application/geo+json;q=0.9, */*;q=0.5"}


class Unread(OrcaError):
    """It could not be read; ``retryable`` tells whether the same call may work later, ``retry_after`` when (s).

    ``answered``: the HTTP status, where there was an answer.
    """

    status = 502
    code = "unread"

    def __init__(
        self, message: str, *, retryable: bool = False, retry_after: float | None = None, answered: int | None = None
    ) -> None:
        super().__init__(message)
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


class _Inside(OSError):
    """This address is not for us to connect to."""


class Web:
    """An async context in which addresses are read over connections that are kept.

    ``private``: addresses of this machine and of private networks are allowed, its metadata never.
    """

    def __init__(self, *, private: bool, at_once: int = 32) -> None:
        self._private = private
        self._at_once = at_once
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=self._at_once, ssl=trust(), socket_factory=self._socket)
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=_ASKED,
            cookie_jar=aiohttp.DummyCookieJar(),
            # `within` bounds each read as a whole.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def _socket(self, place: Any) -> socket.socket:
        """A socket for one address that a name was resolved to; every connection is made with one of these."""
        family, kind, protocol, _, address = place
        if not allowed(ipaddress.ip_address(str(address[0]).partition("%")[0]), private=self._private):
            raise _Inside
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    async def read(
        self,
        url: str,
        *,
        within: float,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        etag: str = "",
        most: int = MOST_BYTES,
    ) -> Answer:
        """The answer of an address, ``body`` posted as JSON. Raises ``Unread`` for all but a success.

        ``within``: seconds for all of it, redirects included. ``most``: bytes, unpacked.
        """
        asked = dict(headers or {}, **{"If-None-Match": etag}) if etag else headers
        try:
            async with asyncio.timeout(within):
                return await self._followed(url, method, body, asked, most)
        except TimeoutError as error:
            raise Unread(f"It did not answer within {within:.0f} seconds.", retryable=True) from error
        except (aiohttp.InvalidURL, ValueError) as error:
            raise Unread("This is no address that can be read.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _unread(error) from error

    async def _followed(self, url: str, method: str, body: Any, headers: Mapping[str, str] | None, most: int) -> Answer:
        if self._session is None:
            raise RuntimeError("read within the context")
        for _ in range(_MOST_REDIRECTS + 1):
            if not url.startswith(("http://", "https://")):
                raise Unread("This is no address that begins with http:// or https://.")
            address = URL(url, encoded=_PLAIN.fullmatch(url) is not None)
            async with self._session.request(
                method, address, json=body, headers=headers, allow_redirects=False
            ) as response:
                if response.status not in _REDIRECTS:
                    return await _answer(response, url, most)
                url = urljoin(url, response.headers.get("Location", ""))
                if response.status == 303:
                    method, body = "GET", None
        raise Unread("It redirects again and again.")


async def _answer(response: aiohttp.ClientResponse, url: str, most: int) -> Answer:
    etag = response.headers.get("ETag", "")
    if response.status == 304:
        return Answer(url, b"", etag=etag, same=True)
    if not 200 <= response.status < 300:
        asked = response.headers.get("Retry-After")
        raise Unread(
            f"It answered with status {response.status}.",
            retryable=response.status in _PASSES,
            retry_after=retry_seconds(asked) if asked else None,
            answered=response.status,
        )
    length = response.content_length
    if response.method == "HEAD":
        return Answer(url, b"", etag=etag, length=length)
    if length is not None and length > most:
        raise _too_large(most)
    return Answer(url, await _body(response, most), etag=etag, length=length)


async def _body(response: aiohttp.ClientResponse, most: int) -> bytes:
    """All of it, counted as it is unpacked: what is told of a length may be a lie."""
    if response.content_length is not None and "Content-Encoding" not in response.headers:
        return await response.read()
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_chunked(_CHUNK):
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(most: int) -> Unread:
    return Unread(f"It is larger than {most // (1024 * 1024)} MB.")


def _unread(error: Exception) -> Unread:
    """What went wrong on the way, in a sentence."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _Inside):
            return Unread("It is an address inside a private network, where Orca does not read.")
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Unread(f"Its certificate is not trusted: {cause.verify_message}.")
        if isinstance(cause, socket.gaierror):
            return Unread("Its name is not known.", retryable=cause.errno == socket.EAI_AGAIN)
        cause = cause.__cause__ or cause.__context__
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return Unread(f"It cannot be reached: {said}.", retryable=True)
