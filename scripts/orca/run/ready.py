"""How to see that each process is really up."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx


def redis_is_up(path: Path) -> bool:
    """Whether Redis answers on its socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def answers(url: str) -> bool:
    """Whether an HTTP server is there and healthy."""
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code < httpx.codes.BAD_REQUEST
    except httpx.TransportError:
        return False


def listens(port: int) -> bool:
    """Whether something accepts connections on the loopback."""
    with socket.socket() as client:
        client.settimeout(2)
        return client.connect_ex(("127.0.0.1", port)) == 0
