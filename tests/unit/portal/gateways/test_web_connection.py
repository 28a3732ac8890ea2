"""What servers do with connections: keep them, close them, send in pieces, lie about lengths, talk something else."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from portal.gateways import webhook
from portal.gateways.web import Answer, Unread, Web
from tests.unit.portal.gateways.test_webhook import certificate

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


def read_from(talk: Talk, *, times: int = 1, at_once: bool = False, **more: Any) -> tuple[list[Answer], int]:
    """What is read of a server that talks like this; and how many connections it took."""
    connections = 0

    async def all_of_it() -> list[Answer]:
        async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            try:
                await talk(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        async with await asyncio.start_server(met, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
            async with Web(private=True) as web:
                if at_once:
                    return await asyncio.gather(*(web.read(url, within=3, **more) for _ in range(times)))
                return [await web.read(url, within=3, **more) for _ in range(times)]

    return asyncio.run(all_of_it()), connections


def saying(*pieces: bytes) -> Talk:
    """Hears one request and says this, with a pause after each piece."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)

    return talk


async def keeping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers for as long as somebody asks."""
    while True:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def test_a_connection_is_kept() -> None:
    found, connections = read_from(keeping, times=5)
    assert [answer.body for answer in found] == [b"ok"] * 5
    assert connections == 1


def test_one_that_was_closed_meanwhile_is_made_anew() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await reader.read(1)

    found, connections = read_from(once, times=3)
    assert len(found) == connections == 3


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\nConte", b"nt-Length: 5\r\n\r\nhe", b"llo"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n", b"3\r\nllo\r\n0\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhel", b"lo"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",),
        (b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    ],
    ids=["in pieces", "chunked", "until it closes", "as long ago", "after a hint"],
)
def test_an_answer_is_read_however_it_is_sent(pieces: tuple[bytes, ...]) -> None:
    (found,), _ = read_from(saying(*pieces))
    assert found.body == b"hello"


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",),
        (b"SSH-2.0-OpenSSH_9.2\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Encoding: gzip\r\n\r\nhello",),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, b"y" * 200_000, b"\r\nContent-Length: 0\r\n\r\n"),
        (),
    ],
    ids=["cut short", "chunks cut short", "another protocol", "not what it says", "endless headers", "nothing"],
)
def test_an_answer_that_is_none_is_told(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(Unread, match="cannot be reached"):
        read_from(saying(*pieces))


def test_a_length_that_lies_does_not_help_to_send_more() -> None:
    body = b"%x\r\n%s\r\n" % (5000, b"x" * 5000)
    with pytest.raises(Unread, match="larger"):
        read_from(saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", body), most=1000)


def test_what_is_said_too_early_or_too_much_is_never_the_next_answer() -> None:
    """A second answer that nobody asked for would otherwise be taken for that of the next request."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        good = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
        writer.write(good + b"mine" + good + b"evil")
        await asyncio.sleep(0.1)

    found, connections = read_from(talk, times=2)
    assert [answer.body for answer in found] == [b"mine", b"mine"]
    assert connections == 2


def test_what_is_asked_for_cannot_bring_headers_of_its_own() -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def ask() -> None:
        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server, Web(private=True) as web:
            port = server.sockets[0].getsockname()[1]
            await web.read(f"http://127.0.0.1:{port}/a b\r\nX-Evil: 1/ü?q=%20&r=[1]", within=3)
            with pytest.raises(Unread, match="no address"):
                await web.read(f"http://127.0.0.1:{port}\r\nX-Evil: 1/", within=3)

    asyncio.run(ask())
    first = heard[0].split(b"\r\n")[0]
    assert first == b"GET /a%20b%0D%0AX-Evil:%201/%C3%BC?q=%20&r=[1] HTTP/1.1"
    assert len(heard) == 1


@contextmanager
def over_tls(pem: Path) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo
    ours = {"stac.example", "other.example"}

    def here(host: Any, *rest: Any, **more: Any) -> Any:
        return real("127.0.0.1" if host in ours else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    pem = certificate(tmp_path / "stac.pem", "stac.example")

    async def get(url: str) -> Answer:
        async with Web(private=True) as web:
            return await web.read(url, within=5)

    with over_tls(pem) as port:
        webhook.trust.cache_clear()
        with pytest.raises(Unread, match="not trusted"):
            asyncio.run(get(f"https://stac.example:{port}/"))
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        webhook.trust.cache_clear()
        assert asyncio.run(get(f"https://stac.example:{port}/")).body == b"ok"
        with pytest.raises(Unread, match="not trusted"):
            asyncio.run(get(f"https://other.example:{port}/"))
    webhook.trust.cache_clear()
