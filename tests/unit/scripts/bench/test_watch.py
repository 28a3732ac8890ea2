"""The relay that notes polls: it changes nothing of what passes, and knows a poll when it sees one."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scripts.orca.bench.watch import POLL, Watch
from scripts.orca.console import ScriptError


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def watch() -> Iterator[Watch]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    with Watch(f"http://127.0.0.1:{server.server_address[1]}") as found:
        yield found
    server.shutdown()
    thread.join()
    server.server_close()


def ask(watch: Watch, target: str, body: bytes) -> bytes:
    connection = http.client.HTTPConnection(watch.endpoint.removeprefix("http://"), timeout=10)
    try:
        connection.request("POST", "/", body, {"X-Amz-Target": target})
        return connection.getresponse().read()
    finally:
        connection.close()


def test_it_passes_everything_on(watch: Watch) -> None:
    body = bytes(range(256)) * 2_000
    assert ask(watch, "anything", body) == body


def test_it_notes_the_first_poll_only(watch: Watch) -> None:
    ask(watch, "AmazonSQS.SendMessage", b"{}")
    with pytest.raises(ScriptError):
        watch.first_poll(0.05)
    before = time.monotonic()
    ask(watch, POLL.decode(), b"{}")
    assert before <= watch.first_poll(5) <= time.monotonic()
    ask(watch, POLL.decode(), b"{}")
    watch.forget()
    with pytest.raises(ScriptError):
        watch.first_poll(0.05)
