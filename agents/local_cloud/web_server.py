"""A threaded HTTP/1.1 server with keep-alive, which moto's own (werkzeug's development server) does not offer.

One thread a connection; the body is read whole before the application runs, so that the connection is always
ready for its next request and no lock is ever held while a slow client is still sending.
"""

from __future__ import annotations

import contextlib
import io
import sys
import traceback
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import DechunkedInput, ThreadedWSGIServer

WSGIApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_NO_BODY_STATUS = {204, 304}


class WebServer(ThreadedWSGIServer):
    """Serves ``app`` on ``host:port``; port 0 takes a free one. ``serve_forever`` until ``shutdown``."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, host: str, port: int, app: WSGIApplication) -> None:
        super().__init__(host, port, app, handler=KeepAliveHandler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is nothing to write about."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()


class KeepAliveHandler(MotoRequestHandler):
    """Reads one request after the other from a connection and answers each with a Content-Length."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 3600.0
    #: Head and body of a usual call in one ``recv``.
    rbufsize = 64 * 1024

    def run_wsgi(self) -> None:
        """Answer the request whose head has been parsed; an exception of the application is a 500."""
        environ = self.make_environ()
        environ["wsgi.input"] = self._body(environ)
        environ["wsgi.input_terminated"] = True
        answer: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
            answer[:] = [status, headers]

        try:
            app: Any = self.server.app
            result = app(environ, start_response)
            try:
                body = b"".join(result)
            finally:
                close = getattr(result, "close", None)
                if close is not None:
                    close()
        except Exception:
            traceback.print_exc()
            answer[:] = ["500 Internal Server Error", [("Content-Type", "text/plain")]]
            body = b"The local cloud failed on this request; its log has the traceback.\n"
        self._send(answer[0], answer[1], body)

    def _body(self, environ: dict[str, Any]) -> io.BytesIO:
        if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
            source: Any = self.rfile
            data = DechunkedInput(source).read()
            environ["CONTENT_LENGTH"] = str(len(data))
            del environ["HTTP_TRANSFER_ENCODING"]
        else:
            length = int(environ.get("CONTENT_LENGTH") or 0)
            data = self.rfile.read(length) if length else b""
            if len(data) < length:
                raise ConnectionError("the client left before it had sent the whole body")
        return io.BytesIO(data)

    def _send(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        code = int(status.split(None, 1)[0])
        phrase = status.split(None, 1)[1] if " " in status else HTTPStatus(code).phrase
        lines = [f"HTTP/1.1 {code} {phrase}"]
        seen = set()
        for key, value in headers:
            seen.add(key.lower())
            lines.append(f"{key}: {value}")
        if "content-length" not in seen and code not in _NO_BODY_STATUS:
            lines.append(f"Content-Length: {len(body)}")
        if "date" not in seen:
            lines.append(f"Date: {self.date_time_string()}")
        if self.close_connection:
            lines.append("Connection: close")
        head = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"
        if self.command == "HEAD" or code in _NO_BODY_STATUS:
            body = b""
        if len(body) < 64 * 1024:
            self.connection.sendall(head + body)
        else:
            self.connection.sendall(head)
            self.connection.sendall(body)

    def finish(self) -> None:
        """Close quietly, whoever closed first."""
        with contextlib.suppress(OSError):
            super().finish()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """No line for each request: a busy agent makes many a second."""
