"""What there is to say about the instance itself."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Mapping, Optional, Tuple

from agents.orca_agent.cloud.metadata import Metadata
from agents.orca_agent.events import InstanceHeartbeat, InstanceRegistered, RunningStep
from agents.orca_agent.ids import new_id
from agents.orca_agent.layout import Layout

MB: Final = 1024 * 1024
NOT_EC2: Final = "ORCA_INSTANCE_ID"
"""The environment variable that names a machine which has no metadata service."""


@dataclass(frozen=True)
class Instance:
    """Who we are. ``boot_id`` is new at every start of the agent."""

    id: str
    type: str
    private_ip: str
    public_ip: str
    boot_id: str

    @classmethod
    def find(cls, metadata: Optional[Metadata], environment: Mapping[str, str]) -> Instance:
        """Raises `CloudError` while the metadata service does not answer."""
        named = environment.get(NOT_EC2, "")
        if named or metadata is None:
            return cls(named or os.uname().nodename, "", "", "", new_id())
        return cls(
            metadata.read("meta-data/instance-id"),
            metadata.read_or_empty("meta-data/instance-type"),
            metadata.read_or_empty("meta-data/local-ipv4"),
            metadata.read_or_empty("meta-data/public-ipv4"),
            new_id(),
        )

    def registered(self, layout: Layout, slots: int, version: str) -> InstanceRegistered:
        now = time.time()
        return InstanceRegistered(
            new_id(now),
            now,
            boot_id=self.boot_id,
            instance_type=self.type,
            private_ip=self.private_ip,
            public_ip=self.public_ip,
            agent_version=version,
            slots=slots,
            cpus=os.cpu_count() or 1,
            memory_mb=memory_mb("MemTotal"),
            ssh_host_keys=host_keys(layout.host_keys),
        )

    def heartbeat(
        self, layout: Layout, slots: int, running: Tuple[RunningStep, ...], engine: str = ""
    ) -> InstanceHeartbeat:
        now = time.time()
        return InstanceHeartbeat(
            new_id(now),
            now,
            boot_id=self.boot_id,
            slots=slots,
            running=running,
            load=round(os.getloadavg()[0], 2),
            memory_free_mb=memory_mb("MemAvailable"),
            disk_free_mb=shutil.disk_usage(layout.state).free // MB,
            engine=engine,
        )


def memory_mb(name: str) -> int:
    """A line of ``/proc/meminfo``."""
    with Path("/proc/meminfo").open(encoding="ascii") as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1]) // 1024
    return 0


def host_keys(folder: Path) -> Tuple[str, ...]:
    """The public keys by which a person's SSH client knows the instance."""
    keys = []
    for path in sorted(folder.glob("ssh_host_*_key.pub")):
        try:
            words = path.read_text(encoding="ascii").split()
        except (OSError, ValueError):
            continue
        if len(words) >= 2:
            keys.append(" ".join(words[:2]))
    return tuple(keys[:10])
