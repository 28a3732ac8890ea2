"""A private MariaDB: data in a temporary folder, reachable on the loopback only, gone when it is stopped.

``python -m scripts.orca.mariadb`` keeps one running and prints its ``DATABASE_URL``.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.orca.console import ScriptError, say, step
from scripts.orca.run.ports import free_port
from scripts.orca.throw_away import command_run, keep, not_started, server_start

_SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
_UP_WITHIN = 60
# Durability is worth nothing for data that is thrown away; this makes a test run several times faster.
_CARELESS = (
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=0",
    "--sync-binlog=0",
    "--skip-log-bin",
    "--performance-schema=OFF",
)


@contextmanager
def mariadb() -> Iterator[str]:
    """The ``DATABASE_URL`` of a server that lives as long as the context; its user may make databases."""
    server = shutil.which("mariadbd", path=_SEARCHED) or shutil.which("mysqld", path=_SEARCHED)
    installer = shutil.which("mariadb-install-db", path=_SEARCHED)
    if server is None or installer is None:
        raise ScriptError("There is no MariaDB server here.", "sudo apt-get install mariadb-server")
    with tempfile.TemporaryDirectory(prefix="orca-mariadb-") as name:
        folder = Path(name)
        user = ["--user=root"] if os.geteuid() == 0 else []
        place = ["--no-defaults", f"--datadir={folder / 'data'}", *user]
        with step("A private MariaDB"):
            command_run([installer, *place, "--auth-root-authentication-method=normal", "--skip-test-db"])
            password, port = secrets.token_hex(16), free_port()
            (folder / "first.sql").write_text(_first_statements(password))
            process = _start(server, place, folder, port)
        try:
            with step("MariaDB's start"):
                _await(process, port, folder / "server.log")
            yield f"mysql://orca:{password}@127.0.0.1:{port}/orca"
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _first_statements(password: str) -> str:
    return (
        "CREATE DATABASE orca CHARACTER SET utf8mb4;\n"
        f"CREATE USER 'orca'@'127.0.0.1' IDENTIFIED BY '{password}';\n"
        "GRANT ALL ON *.* TO 'orca'@'127.0.0.1';\n"
    )


def _start(server: str, place: list[str], folder: Path, port: int) -> subprocess.Popen[bytes]:
    files = [f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}", f"--init-file={folder / 'first.sql'}"]
    network = ["--bind-address=127.0.0.1", f"--port={port}", "--skip-name-resolve"]
    return server_start([server, *place, *files, *network, *_CARELESS], folder / "server.log")


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _UP_WITHIN
    while True:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise not_started("MariaDB", log)
        time.sleep(0.05)


def main() -> int:
    return keep(mariadb(), say, "Stop with Ctrl-C; its data goes with it.")


if __name__ == "__main__":
    sys.exit(main())
