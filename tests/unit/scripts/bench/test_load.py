"""A load counts what was answered, over no more connections than it was given, and hides no failure."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from scripts.orca.bench.load import load
from scripts.orca.console import ScriptError


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    connections = 0
    answers = 0

    def get_request(self) -> Any:
        self.connections += 1
        return super().get_request()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: _Server

    def do_GET(self) -> None:
        self.server.answers += 1
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", "5")
        if self.path == "/closing":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(self.headers.get("Cookie", "plain")[:5].encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[_Server]:
    found = _Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=found.serve_forever, args=(0.05,))
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def test_every_answer_is_counted_over_the_same_connections(server: _Server) -> None:
    found = load(server.server_address[1], "/", connections=3, seconds=0.3, headers={"Cookie": "a=bcd"})
    assert server.connections == 3
    assert len(found.took) == server.answers > 3
    assert found.per_second == pytest.approx(len(found.took) / found.seconds)
    assert 0 < min(found.took) <= max(found.took) <= found.seconds


@pytest.mark.parametrize("path", ["/missing", "/closing"])
def test_a_failure_ends_it(server: _Server, path: str) -> None:
    with pytest.raises(ScriptError):
        load(server.server_address[1], path, connections=2, seconds=5)
