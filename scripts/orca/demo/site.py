"""A folder, served over http on loopback for as long as it is needed."""

from __future__ import annotations

import contextlib
import functools
import http.server
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Site:
    """Where it is, and which paths were asked for so far."""

    url: str
    requests: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        """Until Ctrl-C."""
        with contextlib.suppress(KeyboardInterrupt):
            self._over.wait()


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer on a kept connection comes 40 ms late

    def __init__(self, *arguments: Any, site: Site, latency: float, **more: Any) -> None:
        self._site = site
        self._latency = latency
        super().__init__(*arguments, **more)

    def do_GET(self) -> None:
        self._site.requests.append(self.path)
        if self._latency:
            time.sleep(self._latency)
        with contextlib.suppress(ConnectionError):
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        return


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who breaks off in the middle is no error of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def served(folder: Path, *, latency: float = 0.0, host: str = "127.0.0.1", port: int = 0) -> Iterator[Site]:
    """Serve ``folder``, which may still be filled; each answer comes ``latency`` seconds late. Port 0: a free one."""
    site = Site("")
    handler = functools.partial(_Handler, directory=str(folder), site=site, latency=latency)
    with _Server((host, port), handler) as server:
        site.url = f"http://{host}:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="site", daemon=True)
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
