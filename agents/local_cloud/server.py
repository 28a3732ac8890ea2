"""The local cloud as a whole: put together, started, stopped."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from moto import settings

from agents.local_cloud.access.administrators import ensure_administrators, write_private
from agents.local_cloud.access.enforcement import Call, Enforcement
from agents.local_cloud.access.sessions import Sessions
from agents.local_cloud.gate import Gate, Locks
from agents.local_cloud.instances.fleet import Fleet
from agents.local_cloud.mends import (
    bucket_listing,
    instance_lifecycle,
    queues_of_other_accounts,
    role_assumption,
)
from agents.local_cloud.ssh.doors import SshDoors, choose_port
from agents.local_cloud.web_server import WebServer

HOST = "127.0.0.1"


class LocalCloud:
    """One embedded AWS, kept in the folder ``data``."""

    def __init__(self, *, data: Path, port: int, ssh_port: int | None, region: str) -> None:
        self._started = time.monotonic()
        self._data = data.resolve()
        self._data.mkdir(parents=True, exist_ok=True)
        self._data.chmod(0o711 if os.geteuid() == 0 else 0o700)
        self._region = region
        self._stop = threading.Event()
        self._ready = False
        sessions = Sessions(_sealing_key(self._data))
        self._locks = Locks()
        enforcement = Enforcement(sessions)
        self._gate = Gate(enforcement, self._locks, self, self.health)
        self._server = WebServer(HOST, port, self._gate)
        self._fleet = Fleet(
            data=self._data,
            endpoint=lambda: self.endpoint,
            sessions=sessions,
            control=self._locks.control,
            changed=lambda account, region: None,
            doors=self,
        )
        self._doors = SshDoors(self._fleet.tools, choose_port(ssh_port, self._fleet.addresses.probe()))
        enforcement.install()
        role_assumption.apply(sessions)
        bucket_listing.apply(enforcement)
        queues_of_other_accounts.apply()
        instance_lifecycle.apply(self._fleet)
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0

    @property
    def endpoint(self) -> str:
        """The URL for ``AWS_ENDPOINT_URL``."""
        return f"http://{HOST}:{self._server.server_address[1]}"

    def open(self, machine: Any, environment: dict[str, str]) -> None:
        self._doors.open(machine, environment)

    def close(self, instance_id: str) -> None:
        self._doors.close(instance_id)

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; 0."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        ensure_administrators(self._data, self._region)
        self._fleet.restore()
        threading.Thread(target=self._server.serve_forever, name="http", daemon=True).start()
        self._ready = True
        sys.stdout.write(f"ready {self.endpoint}\n")
        sys.stdout.flush()
        self._stop.wait()
        self._ready = False
        self._fleet.leave()
        self._server.shutdown()
        return 0

    def touched(self, service: str, environ: Mapping[str, Any], call: Call, status: int) -> None:
        """See ``gate.Recorder``."""

    def health(self) -> dict[str, object]:
        """What ``GET /_orca/health`` answers."""
        return {
            "ready": self._ready,
            "uptime_seconds": round(time.monotonic() - self._started, 1),
            "ssh_port": self._doors.port,
            "isolated": self._fleet.tools.bwrap is not None,
            "instances": self._fleet.health(),
            "versions": {name: version(name) for name in ("moto", "asyncssh", "botocore")},
        }


def _sealing_key(data: Path) -> bytes:
    path = data / "sealing.key"
    if not path.exists():
        write_private(path, secrets.token_hex(32))
    return bytes.fromhex(path.read_text())
