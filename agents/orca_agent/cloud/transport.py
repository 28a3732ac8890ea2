"""HTTP on kept-alive connections that any thread may use and that one call can break off."""

from __future__ import annotations

import http.client
import io
import ipaddress
import os
import socket
import ssl
import threading
import urllib.request
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Callable, Dict, List, Mapping, Optional, Protocol, Set, Tuple, Union
from urllib.parse import urlsplit

from agents.orca_agent.cloud.errors import CloudError

BLOCK = 256 * 1024
MAX_BODY = 16 * 1024 * 1024
IDLE_KEPT = 16
IDLE_PLACES = 32
METADATA = frozenset({ipaddress.ip_address("fd00:ec2::254")})


class FileShrank(CloudError):
    """A file has fewer bytes than it had when its upload began."""


class FileSlice(io.RawIOBase):
    """``length`` bytes of an open file from ``offset`` on; threads may read slices of one file at once."""

    def __init__(self, descriptor: int, offset: int, length: int) -> None:
        super().__init__()
        self.descriptor = descriptor
        self.offset = offset
        self.length = length
        self._position = 0

    def rewind(self) -> None:
        self._position = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        left = self.length - self._position
        wanted = left if size < 0 else min(size, left)
        data = os.pread(self.descriptor, wanted, self.offset + self._position) if wanted else b""
        if wanted and not data:
            raise FileShrank("FileShrank", "the file became shorter while it was read")
        self._position += len(data)
        return data


Body = Union[bytes, FileSlice, None]


class CannotWrite(CloudError):
    """What arrives cannot be stored; asking again would not help."""


class TooLarge(CloudError):
    """What arrives is more than may come; asking again would not help."""


class NotAllowed(CloudError):
    """The address leads to this machine's surroundings, where nothing is fetched for anybody."""


class Target(Protocol):
    """Where a body goes: any file that is open for writing will do."""

    def seek(self, offset: int, /) -> object: ...

    def truncate(self) -> object: ...

    def write(self, data: bytes, /) -> object: ...


class FilePart:
    """A `Target` that is a part of an open file, from ``offset`` on; threads may write parts of one file at once.

    ``check`` is called before each block, and may raise to break the transfer off.
    """

    def __init__(self, descriptor: int, offset: int, check: Callable[[], object]) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._check = check
        self.written = 0

    def seek(self, offset: int, /) -> None:
        self.written = offset

    def truncate(self) -> None:
        """Nothing to do: what comes again is the same."""

    def write(self, data: bytes, /) -> None:
        self._check()
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(self._descriptor, data[done:], self._offset + self.written + done)
        except OSError as error:  # not the connection's fault
            raise CannotWrite("CannotWrite", error.strerror or str(error)) from error
        self.written += len(data)


@dataclass(frozen=True)
class Response:
    """``headers`` have names in lower case; ``body``, of ``size`` bytes, is empty where it was written to a file."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    size: int = 0


class Aborted(OSError):
    """`Transport.abort` was called."""


@dataclass(eq=False)
class _Line:
    """A connection, and what a plain proxy wants in front of each path."""

    connection: http.client.HTTPConnection
    prefix: str = ""
    reused: bool = False


class Transport:
    """A pool of connections. Raises ``OSError`` or ``http.client.HTTPException`` where no answer came.

    ``guarded``: for addresses that come from others. It does not speak to link-local ones, among them the metadata
    service, which gives out the instance's keys.
    """

    def __init__(self, *, use_proxies: bool = True, guarded: bool = False) -> None:
        self._use_proxies = use_proxies
        self._guarded = guarded
        self._lock = threading.Lock()
        self._idle: Dict[Tuple[str, str], List[_Line]] = {}
        self._busy: Set[_Line] = set()
        self._tls: Optional[ssl.SSLContext] = None
        self._aborted = False

    def abort(self) -> None:
        """Break off what is under way; later requests fail at once."""
        with self._lock:
            self._aborted = True
            sockets = [line.connection.sock for line in self._busy]
        for opened in sockets:
            if opened is not None:
                with suppress(OSError):
                    opened.shutdown(socket.SHUT_RDWR)

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body = None,
        *,
        timeout: float = 60.0,
        into: Optional[Target] = None,
        limit: int = MAX_BODY,
    ) -> Response:
        """One request. The body of an answer 200 or 206 goes to ``into`` if that is given; ``limit`` is in bytes."""
        parts = urlsplit(url)
        place = (parts.scheme, parts.netloc)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        while True:
            line = self._take(place, timeout)
            try:
                if isinstance(body, FileSlice):
                    body.rewind()
                if self._guarded and line.connection.sock is None:
                    line.connection.connect()
                    _judge(line.connection.sock)
                line.connection.request(method, line.prefix + target, body, dict(headers))
                answer = line.connection.getresponse()
                with ExitStack() as unread:
                    unread.callback(answer.close)  # one that ends with its connection is not closed with that
                    response = _read(answer, into, limit)
                    unread.pop_all()
            except ConnectionError:
                self._drop(line)
                if line.reused and not self._aborted:
                    continue  # the other side had closed it while it was idle
                raise
            except BaseException:
                self._drop(line)
                raise
            self._give_back(place, line, keep=not answer.will_close)
            return response

    def _take(self, place: Tuple[str, str], timeout: float) -> _Line:
        with self._lock:
            if self._aborted:
                raise Aborted("the transport was shut")
            idle = self._idle.get(place)
            line = idle.pop() if idle else self._connect(place, timeout)
            self._busy.add(line)
        if line.connection.sock is not None:
            line.reused = True
            line.connection.sock.settimeout(timeout)
        return line

    def _give_back(self, place: Tuple[str, str], line: _Line, *, keep: bool) -> None:
        with self._lock:
            self._busy.discard(line)
            idle = self._idle[place] = self._idle.pop(place, [])  # the latest comes last
            outgrown = self._idle.pop(next(iter(self._idle))) if len(self._idle) > IDLE_PLACES else []
            kept = keep and not self._aborted and len(idle) < IDLE_KEPT
            if kept:
                idle.append(line)
        for one in [*outgrown, *([] if kept else [line])]:
            one.connection.close()

    def _drop(self, line: _Line) -> None:
        with self._lock:
            self._busy.discard(line)
        line.connection.close()

    def _connect(self, place: Tuple[str, str], timeout: float) -> _Line:
        """A connection that opens with its first request."""
        scheme, netloc = place
        proxy = self._proxy(scheme, netloc)
        host = proxy or netloc
        if scheme != "https":
            plain = http.client.HTTPConnection(host, timeout=timeout, blocksize=BLOCK)
            return _Line(plain, prefix=f"http://{netloc}" if proxy else "")
        if self._tls is None:
            bundle = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE") or None
            self._tls = ssl.create_default_context(cafile=bundle)
        secure = http.client.HTTPSConnection(host, timeout=timeout, context=self._tls, blocksize=BLOCK)
        if proxy:
            secure.set_tunnel(netloc)
        return _Line(secure)

    def _proxy(self, scheme: str, netloc: str) -> str:
        """The host and port of the proxy to use, or ""."""
        hostname = urlsplit(f"//{netloc}").hostname or ""
        if not self._use_proxies or hostname == "localhost" or hostname.startswith(("127.", "169.254.")):
            return ""
        address = urllib.request.getproxies().get(scheme, "")
        if not address or urllib.request.proxy_bypass(hostname):
            return ""
        return urlsplit(address if "//" in address else f"//{address}").netloc.rpartition("@")[2]


def _judge(opened: Optional[socket.socket]) -> None:
    if opened is None:
        return
    peer = ipaddress.ip_address(opened.getpeername()[0].partition("%")[0])
    mapped = getattr(peer, "ipv4_mapped", None) or peer
    if mapped.is_link_local or mapped in METADATA:
        raise NotAllowed("NotAllowed", f"nothing is fetched from {mapped}")


def _read(answer: http.client.HTTPResponse, into: Optional[Target], limit: int) -> Response:
    headers = {name.lower(): value for name, value in answer.getheaders()}
    kept = bytearray()
    if into is not None and answer.status in {200, 206}:
        into.seek(0)
        into.truncate()
        write: Callable[[bytes], object] = into.write
    else:
        write, limit = kept.extend, MAX_BODY
    size = answer.length or 0
    if size > limit:
        raise TooLarge("TooLarge", f"it has {size} bytes; at most {limit} may come")
    size = 0
    while True:
        block = answer.read1(BLOCK)  # what has come: who drips is seen to drip
        if not block:
            break
        size += len(block)
        if size > limit:
            raise TooLarge("TooLarge", f"it has more than the {limit} bytes that may come")
        write(block)
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)
    answer.read()  # older Pythons know only then that it is at its end
    return Response(answer.status, headers, bytes(kept), size)
