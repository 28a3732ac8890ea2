"""Posting to an address that a person gave us: never into our own network, never for longer than agreed.

A name is resolved here, and the connection is made to the very address that was judged: a name that answers with
another address the second time (DNS rebinding) gains nothing. Redirects are not followed and no proxy is asked.
"""

from __future__ import annotations

import contextlib
import email.utils
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

import httpcore

from portal.core.errors import OrcaError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# EC2's metadata service by IPv6; by IPv4 it is link-local.
_METADATA = ipaddress.IPv6Address("fd00:ec2::254")


class Undelivered(OrcaError):
    """There was no answer; ``retryable`` tells whether the same call may work later."""

    status = 502
    code = "undelivered"

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


@dataclass(frozen=True)
class Answer:
    """A receiver's status, and for how many seconds it asked to be left alone, if it did."""

    status: int
    retry_after: float | None = None


def post(url: str, *, body: bytes, headers: Mapping[str, str], private: bool, within: float) -> Answer:
    """Post ``body`` and give back the answer, which is not read beyond its head. Raises ``Undelivered``.

    ``private``: addresses of this machine and of private networks are allowed. ``within``: seconds for all of it.
    """
    backend = _Guarded(private=private, until=time.monotonic() + within)
    try:
        with (
            httpcore.ConnectionPool(ssl_context=trust(), network_backend=backend, retries=0) as pool,
            pool.stream("POST", url, headers=list(headers.items()), content=body) as response,
        ):
            given = dict(response.headers).get(b"Retry-After") or dict(response.headers).get(b"retry-after")
            return Answer(response.status, retry_seconds(given.decode("latin-1")) if given else None)
    except httpcore.TimeoutException as error:
        raise Undelivered(f"It did not answer within {within:.0f} seconds.") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        raise Undelivered(_said(error)) from error
    except (httpcore.UnsupportedProtocol, ValueError) as error:
        raise Undelivered("This address cannot be posted to.", retryable=False) from error


def allowed(address: Address, *, private: bool) -> bool:
    """Whether an address may be posted to. What routes to one machine only (metadata among it) never may."""
    inner = _inner(address)
    if inner.is_link_local or inner.is_multicast or inner == _METADATA:
        return False
    return private or (inner.is_global and not inner.is_reserved)


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (address,))[-1]


@cache
def trust() -> ssl.SSLContext:
    """The authorities that this machine trusts; ``SSL_CERT_FILE`` adds one's own."""
    return ssl.create_default_context()


def _said(error: Exception) -> str:
    reason = error.__context__ if isinstance(error.__context__, OSError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"Its certificate is not trusted: {reason.verify_message}."
    text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return f"It cannot be reached: {text or type(reason).__name__}."


def retry_seconds(text: str) -> float | None:
    """The seconds of a ``Retry-After``, which says a number or a date (RFC 9110, 10.2.3)."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    with contextlib.suppress(ValueError, TypeError):
        at = email.utils.parsedate_to_datetime(text)
        return max(0.0, (at.astimezone(UTC) - datetime.now(UTC)).total_seconds())
    return None


class _Guarded(httpcore.NetworkBackend):
    """Connects to judged addresses only, and gives all that is done over the connection one end in time."""

    def __init__(self, *, private: bool, until: float) -> None:
        self._private = private
        self._until = until

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Raises ``Undelivered`` where the name means nothing, or something that is not allowed."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise Undelivered(f"The name {host} is not known.") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        fit = [a for a in addresses if allowed(ipaddress.ip_address(a.partition("%")[0]), private=self._private)]
        if not fit:
            message = f"{host} is an address inside a private network, where Orca does not send."
            raise Undelivered(message, retryable=False)
        for address in fit[:-1]:
            with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return self._connected(address, port)
        return self._connected(fit[-1], port)

    def _connected(self, address: str, port: int) -> httpcore.NetworkStream:
        plain = httpcore.SyncBackend().connect_tcp(address, port, timeout=_left(self._until))
        return _Timed(plain, self._until)


class _Timed(httpcore.NetworkStream):
    """A stream whose every wait ends when the time for all of them is up."""

    def __init__(self, stream: httpcore.NetworkStream, until: float) -> None:
        self._stream = stream
        self._until = until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """As the stream does."""
        return self._stream.read(max_bytes, _left(self._until))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """As the stream does."""
        self._stream.write(buffer, _left(self._until))

    def close(self) -> None:
        """As the stream does."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """As the stream does."""
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, _left(self._until)), self._until)

    def get_extra_info(self, info: str) -> object:
        """As the stream does."""
        return self._stream.get_extra_info(info)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout
    return left
