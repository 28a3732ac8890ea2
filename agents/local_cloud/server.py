"""The local cloud as a whole: put together, started, stopped."""

from __future__ import annotations

import secrets
import signal
import sys
import threading
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from moto import settings

from agents.local_cloud import start_up
from agents.local_cloud.access.administrators import ensure_administrators, write_private
from agents.local_cloud.access.enforcement import Enforcement
from agents.local_cloud.access.sessions import Sessions
from agents.local_cloud.accounts import ACCOUNTS, PARTITION
from agents.local_cloud.gate import Gate, Locks
from agents.local_cloud.instances.fleet import Fleet
from agents.local_cloud.instances.sandbox import Tools
from agents.local_cloud.mends import (
    bucket_listing,
    bucket_metrics,
    instance_lifecycle,
    metrics_configurations,
    policy_simulation,
    queues,
    queues_of_other_accounts,
    remembered,
    request_payment,
    role_assumption,
    security_group_rules,
    stack_policies,
    traffic_metrics,
    uploads,
)
from agents.local_cloud.metering import Meter
from agents.local_cloud.ssh.doors import SshDoors
from agents.local_cloud.state.bodies import BodyFolder
from agents.local_cloud.state.objects import ObjectLogs
from agents.local_cloud.state.recorder import Recorder
from agents.local_cloud.state.store import Store, forget_instances
from agents.local_cloud.web_server import WebServer

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Options:
    """What the command line says. ``grace`` in seconds; ``ssh_port`` None: 22 where it may be had, else 2222."""

    data: Path
    port: int
    ssh_port: int | None
    region: str
    grace: float


class LocalCloud:
    """One embedded AWS, kept in the folder ``options.data``."""

    def __init__(self, options: Options) -> None:
        self._started = time.monotonic()
        self._data = options.data
        self._region = options.region
        self._stop = threading.Event()
        self._ready = False
        sessions = Sessions(_sealing_key(self._data))
        locks = Locks()
        enforcement = Enforcement(sessions)
        self._bodies = BodyFolder(self._data / "objects")
        self._store = Store(self._data / "state", locks.of)
        self._objects = ObjectLogs(self._data / "buckets", self._bodies)
        recorder = Recorder(self._store, self._objects)
        self._meter = Meter(self._data / "metrics.json")
        self._server = WebServer(HOST, options.port, Gate(enforcement, locks, recorder, self._meter, self.health))
        tools = Tools.find(self._data)
        self._doors = SshDoors(tools)
        self._fleet = Fleet(
            data=self._data,
            tools=tools,
            endpoint=self.endpoint,
            sessions=sessions,
            control=locks.control,
            changed=lambda account, region: self._store.changed("ec2", account, region),
            doors=self._doors,
            grace=options.grace,
        )
        self._doors.port = self._doors.choose_port(options.ssh_port, self._fleet.addresses.probe())
        self._mend(enforcement, sessions)

    def _mend(self, enforcement: Enforcement, sessions: Sessions) -> None:
        forget_instances()
        remembered.apply()
        self._bodies.install()
        enforcement.install()
        role_assumption.apply(sessions)
        policy_simulation.apply()
        bucket_listing.apply(enforcement)
        bucket_metrics.apply()
        metrics_configurations.apply()
        traffic_metrics.apply(self._meter)
        request_payment.apply()
        uploads.apply()
        security_group_rules.apply()
        stack_policies.apply()
        queues.apply(queues.QueueLogs(self._data / "queues"))
        queues_of_other_accounts.apply()
        instance_lifecycle.apply(self._fleet)
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0

    @property
    def endpoint(self) -> str:
        """The URL for ``AWS_ENDPOINT_URL``."""
        return f"http://{HOST}:{self._server.server_address[1]}"

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; 0."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        self._store.restore()
        self._objects.restore()
        self._meter.restore()
        if ensure_administrators(self._data, self._region):
            for account in ACCOUNTS.values():
                self._store.changed("iam", account, PARTITION)
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="http", daemon=True).start()
        self._fleet.restore()
        if self._fleet.tools.bwrap is None:
            sys.stderr.write("WARNING: bwrap is not installed: instances are not isolated from this machine\n")
        self._ready = True
        start_up.settle()
        sys.stdout.write(f"ready {self.endpoint}\n")
        sys.stdout.flush()
        self._stop.wait()
        self._ready = False
        self._fleet.leave()
        self._server.shutdown()
        self._store.flush()
        self._meter.flush()
        self._bodies.close()
        return 0

    def health(self) -> dict[str, object]:
        """What ``GET /_orca/health`` answers."""
        return {
            "ready": self._ready,
            "uptime_seconds": round(time.monotonic() - self._started, 1),
            "ssh_port": self._doors.port,
            "isolated": self._fleet.tools.bwrap is not None,
            "instances": self._fleet.health(),
            "saves": {"count": self._store.saves, "seconds": round(self._store.seconds, 4)},
            "versions": {name: version(name) for name in ("moto", "asyncssh", "botocore")},
        }


def _sealing_key(data: Path) -> bytes:
    path = data / "sealing.key"
    if not path.exists():
        write_private(path, secrets.token_hex(32))
    return bytes.fromhex(path.read_text())
