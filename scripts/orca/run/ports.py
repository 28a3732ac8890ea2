"""Who holds a port."""

from __future__ import annotations

import socket
from pathlib import Path

from scripts.orca.console import ScriptError

# The first address that the local cloud could give to an instance; only tried here, never kept.
_INSTANCE_ADDRESS = "127.1.0.1"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError:
            return False
    return True


def port_require(host: str, port: int, option: str) -> None:
    """Raises ``ScriptError`` naming who listens on ``port`` and the ``option`` that moves Orca elsewhere."""
    if is_free(host, port):
        return
    holder = listener(port)
    who = f" by {holder}" if holder else ""
    raise ScriptError(
        f"Port {port} on {host} is taken{who}.",
        f"Stop that, or choose another: scripts/run {option} {port + 1}",
    )


def ssh_port() -> int:
    """22 where this user may listen on it at an instance's address, else 2222."""
    return 22 if is_free(_INSTANCE_ADDRESS, 22) else 2222


def listener(port: int) -> str:
    """`name (process 123)` of who listens on a TCP ``port`` here; empty where that cannot be seen."""
    sockets = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        lines = table.read_text().splitlines()[1:] if table.is_file() else []
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in sockets for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
        except OSError:
            continue
    return ""
