"""What the processes get to know: the environment that `scripts/run` makes for them."""

from __future__ import annotations

import ipaddress
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from scripts.orca.paths import ENV_FILE, HOME, RUN, private_folder, socket_folder
from scripts.orca.run.options import Options
from scripts.orca.run.ports import ssh_port
from scripts.orca.setup.packages import RUN as RUN_PACKAGES
from scripts.orca.setup.secrets import read, write_private

DEFAULT_REGION = "eu-central-1"
_FOREIGN_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
)


@dataclass(frozen=True)
class Configuration:
    """What runs here, and how it is reached. The processes get ``environment`` and nothing else."""

    options: Options
    url: str
    local_url: str
    sockets: Path
    environment: dict[str, str]
    embedded_cloud: bool
    embedded_redis: bool

    @property
    def cloud_url(self) -> str:
        return self.environment.get("AWS_ENDPOINT_URL", "")


def configuration_read(options: Options) -> Configuration:
    """Decides from the options, the environment and ``var/orca.env`` (in this order) what runs here."""
    environment = {**read(ENV_FILE), **os.environ}
    environment.update(ORCA_HOME=str(HOME), DJANGO_SETTINGS_MODULE="portal.settings")
    host = _reachable(options.host)
    local_url = f"http://{host}:{options.port}"
    url = environment.setdefault("ORCA_PUBLIC_URL", local_url).rstrip("/")
    environment.setdefault("ALLOWED_HOSTS", f"127.0.0.1,localhost,[::1],{host}")
    embedded_cloud = options.cloud == "local" and not environment.get("AWS_ENDPOINT_URL")
    if embedded_cloud:
        _local_cloud(environment, options)
    else:
        environment.setdefault("AWS_DEFAULT_REGION", environment.get("AWS_REGION", DEFAULT_REGION))
    sockets = socket_folder()
    redis_here = next(package for package in RUN_PACKAGES if package.name == "redis-server").present()
    external_broker = bool(environment.get("ORCA_REDIS_URL") or environment.get("ORCA_BROKER_URL"))
    embedded_redis = redis_here and not external_broker
    if embedded_redis:
        environment["ORCA_REDIS_URL"] = f"unix://{sockets / 'redis.sock'}"
        environment["ORCA_BROKER_URL"] = f"redis+socket://{sockets / 'redis.sock'}"
    return Configuration(options, url, local_url, sockets, environment, embedded_cloud, embedded_redis)


def _reachable(host: str) -> str:
    """An address under which this machine reaches a server that listens on ``host``."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host
    if found.is_unspecified:
        return "127.0.0.1"
    return f"[{host}]" if found.version == 6 else host


def _local_cloud(environment: dict[str, str], options: Options) -> None:
    """Points everything at the embedded cloud, and away from any account that this person may have."""
    for name in _FOREIGN_CREDENTIALS:
        environment.pop(name, None)
    empty = private_folder(RUN) / "aws-config"
    empty.touch()
    region = environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION") or DEFAULT_REGION
    environment.update(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{options.cloud_port}",
        AWS_SHARED_CREDENTIALS_FILE=str(HOME / "cloud" / "credentials"),
        AWS_CONFIG_FILE=str(empty),
        AWS_PROFILE="platform",
        AWS_DEFAULT_REGION=region,
        AWS_REGION=region,
        AWS_EC2_METADATA_DISABLED="true",
    )
    environment.setdefault("ORCA_SSH_PORT", str(ssh_port()))
    environment["NO_PROXY"] = ",".join(
        filter(None, [environment.get("NO_PROXY", ""), "127.0.0.0/8,127.0.0.1,localhost"])
    )
    environment["no_proxy"] = environment["NO_PROXY"]


def configuration_publish(configuration: Configuration) -> Path:
    """Writes what a person needs to run `manage.py` against this Orca by hand; returns the file."""
    names = ("AWS_", "ORCA_", "DATABASE_URL", "DJANGO_SETTINGS_MODULE")
    chosen = {name: value for name, value in sorted(configuration.environment.items()) if name.startswith(names)}
    path = RUN / "environment"
    lines = [f"{name}={shlex.quote(value)}" for name, value in chosen.items()]
    write_private(path, "\n".join([f"# By hand: set -a; . {path}; set +a", *lines]) + "\n")
    return path
