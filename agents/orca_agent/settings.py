"""What the agent is told: the file that user data wrote, then the object that Terraform wrote for it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Mapping

from agents.orca_agent.fields import Fields, Malformed, load_object

CONTROL_KEY: Final = "control/agent.json"
DESIRED_KEY: Final = "control/desired.json"
HEX_KEY: Final = re.compile(r"[0-9a-f]{64}")

# fmt: off
PASSED_ON: Final = frozenset((
    "AWS_CA_BUNDLE", "AWS_DEFAULT_REGION", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_REGION",
    "CURL_CA_BUNDLE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR",
    "SSL_CERT_FILE", "TZ", "http_proxy", "https_proxy", "no_proxy",
))
# fmt: on
PASSED_ON_PREFIXES: Final = ("AWS_ENDPOINT_URL", "PIP_")


@dataclass(frozen=True)
class Place:
    """Where the workspace is: ``/etc/orca/agent.json``."""

    workspace: str
    region: str
    bucket: str

    @classmethod
    def read(cls, path: Path) -> Place:
        """Raises ``OSError`` or `Malformed`."""
        fields = load_object(path.read_bytes(), path.name)
        return cls(fields.identifier("workspace"), fields.text("region", limit=40), fields.text("bucket", limit=63))


@dataclass(frozen=True)
class Settings:
    """The whole of it: ``control/agent.json``. ``tasks_queue`` is a name or a URL, ``registry`` a repository or ""."""

    workspace: str
    region: str
    bucket: str
    tasks_queue: str
    events_queue_url: str
    signing_key: bytes
    slots: int
    registry: str = ""

    @classmethod
    def parse(cls, body: bytes, place: Place) -> Settings:
        """Raises `Malformed`, also where the object is meant for another workspace."""
        fields = load_object(body, CONTROL_KEY)
        if fields.identifier("workspace") != place.workspace:
            raise Malformed(f"{CONTROL_KEY} belongs to another workspace")
        return cls(
            workspace=place.workspace,
            region=fields.text("region", limit=40, default=place.region),
            bucket=place.bucket,
            tasks_queue=fields.text("tasks_queue", limit=500),
            events_queue_url=fields.text("events_queue_url", limit=500),
            signing_key=bytes.fromhex(fields.match("signing_key", HEX_KEY)),
            slots=_slots(fields),
            registry=fields.text("registry", limit=300, default=""),
        )

    def __repr__(self) -> str:
        return f"Settings({self.workspace}, {self.region}, {self.bucket}, slots={self.slots})"


def _slots(fields: Fields) -> int:
    """As many as the instance has processors, where nothing is said."""
    return fields.integer("slots", low=0, high=1_000, default=0) or max(1, os.cpu_count() or 1)


def passed_on(environment: Mapping[str, str]) -> Mapping[str, str]:
    """What a step gets of the agent's environment: where the cloud is and how to reach the network. No keys."""
    return {
        name: value for name, value in environment.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
