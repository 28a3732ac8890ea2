"""A load of a fixed number of kept-alive connections, each asking again as soon as it has its answer."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from scripts.orca.console import ScriptError

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)


@dataclass
class Load:
    """How long each answer took, in seconds, and how long all of it did."""

    took: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        return len(self.took) / self.seconds


def load(port: int, path: str, *, connections: int, seconds: float, headers: Mapping[str, str] | None = None) -> Load:
    """Ask for ``path`` until ``seconds`` are over. Raises ``ScriptError`` at any answer but 200, or a lost connection.

    A server that does not keep a connection alive is such a loss: every request of a load goes over the first ones.
    """
    said = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{said}\r\n".encode()
    found = Load()

    async def all_of_them() -> None:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(_ask(found, port, request, until=began + seconds))
        found.seconds = time.perf_counter() - began

    lost = ""
    try:
        asyncio.run(all_of_them())
    except* (OSError, EOFError) as errors:
        lost = str(errors.exceptions)  # what is raised here would become a group
    if lost:
        raise ScriptError(f"{path}: a connection was lost.", detail=lost)
    return found


async def _ask(found: Load, port: int, request: bytes, *, until: float) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    try:
        while (began := time.perf_counter()) < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if length is None or not head.startswith(b"HTTP/1.1 200 "):
                raise ConnectionError(head.decode(errors="replace"))
            await reader.readexactly(int(length.group(1)))
            found.took.append(time.perf_counter() - began)
    finally:
        writer.close()
