"""A relay in front of the local cloud that notes when a poll comes by, so that nothing has to be built into either."""

from __future__ import annotations

import queue
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

from scripts.orca.console import ScriptError

POLL: Final = b"AmazonSQS.ReceiveMessage"
_BLOCK: Final = 64 * 1024


class Watch:
    """Passes bytes on in both directions, a thread for each; adds well under a millisecond to a call."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._polls: queue.SimpleQueue[float] = queue.SimpleQueue()
        self.endpoint = f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> Watch:
        threading.Thread(target=self._accept, name="watch", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def forget(self) -> None:
        """Polls until now do not count."""
        while not self._polls.empty():
            self._polls.get()

    def first_poll(self, patience: float) -> float:
        """When the first poll since the last ``forget`` came by, on the monotonic clock."""
        try:
            return self._polls.get(timeout=patience)
        except queue.Empty:
            raise ScriptError(f"Nobody polled within {patience:.0f} s.") from None

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pass_on, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(far, near, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, asks: bool) -> None:
        with suppress(OSError):
            while block := source.recv(_BLOCK):
                if asks and POLL in block:
                    self._polls.put(time.monotonic())
                target.sendall(block)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()
