"""Connections are kept for the next request, and not for ever more places."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from agents.orca_agent.cloud import transport
from agents.orca_agent.cloud.transport import Transport


class Server(http.server.ThreadingHTTPServer):
    """Answers anything; counts its connections."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.opened = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        self.opened += 1
        super().process_request(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        return


@contextlib.contextmanager
def serving() -> Iterator[tuple[Server, str]]:
    with Server() as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_one_connection_serves_many_requests() -> None:
    with serving() as (server, url):
        pool = Transport()
        assert [pool.request("GET", url, {}).body for _ in range(5)] == [b"ok"] * 5
        assert server.opened == 1


def test_the_connections_of_the_place_asked_longest_ago_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "IDLE_PLACES", 2)
    pool = Transport()
    with serving() as (first, a), serving() as (second, b), serving() as (third, c):
        for url in (a, b, a, c):  # with the third, one has to go
            pool.request("GET", url, {})
        assert (first.opened, second.opened, third.opened) == (1, 1, 1)
        pool.request("GET", a, {})
        pool.request("GET", c, {})
        assert (first.opened, third.opened) == (1, 1)
        pool.request("GET", b, {})
        assert second.opened == 2
