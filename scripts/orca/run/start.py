"""The order in which Orca starts."""

from __future__ import annotations

import json
import secrets
import subprocess
from dataclasses import dataclass
from functools import partial

from scripts.orca.console import ScriptError, step
from scripts.orca.paths import HOME, LOGS, PYTHON, ROOT
from scripts.orca.run import ready
from scripts.orca.run.configuration import Configuration, configuration_publish
from scripts.orca.run.processes import leash
from scripts.orca.run.supervision import Supervision
from scripts.orca.setup.stamps import fingerprint, is_done, set_done

_WORKER_READY = " ready."
_LOG = LOGS / "prepare.log"


@dataclass(frozen=True)
class Started:
    """What a person must be told: the first administrator's address and password, the first time only."""

    administrator: str | None = None
    password: str = ""


def start(supervision: Supervision) -> Started:
    """Starts everything and waits until it is up; raises ``ScriptError`` with the log of what is not."""
    configuration = supervision.configuration
    configuration_publish(configuration)
    supervision.launch()
    supervision.start("redis", "cloud")
    supervision.wait_for("redis", lambda: ready.redis_is_up(configuration.sockets / "redis.sock"))
    mark = _database_mark(configuration)
    current = is_done("database", mark)
    if current:
        supervision.start("web", "beat")
    preparing, started = _prepare(configuration, database=not current)
    if not current:
        supervision.start("web", "beat")
    supervision.wait_for("cloud", lambda: ready.listens(configuration.options.cloud_port))
    with step("Orca's own part of the cloud"):
        _finish(preparing)
    set_done("database", _database_mark(configuration))
    supervision.start("worker", "relay")
    supervision.wait_for("web", lambda: ready.answers(f"{configuration.local_url}/healthz"))
    supervision.wait_for("worker", lambda: _WORKER_READY in supervision.log_since_start("worker"))
    for name in ("relay", "beat"):
        supervision.wait_for(name, partial(supervision.is_running, name, seconds=1))
    return started


def _database_mark(configuration: Configuration) -> str:
    """What the database and the static files are made of; never the same for a database elsewhere."""
    address = configuration.environment.get("DATABASE_URL", "")
    sources = sorted((ROOT / "portal").rglob("migrations/*.py")) + sorted((ROOT / "portal").rglob("static"))
    local = HOME / "orca.sqlite3"
    there = f"{local.stat().st_ino}" if local.is_file() and not address else secrets.token_hex(8)
    return fingerprint([address, there, ROOT / "requirements.txt", *sources])


def _prepare(configuration: Configuration, *, database: bool) -> tuple[subprocess.Popen[str], Started]:
    """Starts preparing; returns when the database is ready, while the cloud may still be waited for."""
    password = secrets.token_urlsafe(12)
    arguments = ["--database"] if database else []
    if configuration.embedded_cloud:
        arguments += ["--cloud-port", str(configuration.options.cloud_port)]
    with _LOG.open("w") as log:
        preparing = subprocess.Popen(
            [*leash(), str(PYTHON), "-m", "scripts.orca.run.prepare", *arguments],
            cwd=ROOT,
            env={**configuration.environment, "ORCA_FIRST_PASSWORD": password},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with step("Database and static files" if database else "Portal"):
        line = preparing.stdout.readline() if preparing.stdout else ""
    if not line:
        _finish(preparing)
    return preparing, Started(json.loads(line)["administrator"], password)


def _finish(preparing: subprocess.Popen[str]) -> None:
    if preparing.wait() != 0:
        lines = _LOG.read_text(errors="replace").splitlines()
        raise ScriptError("Orca could not be prepared.", f"The whole log is {_LOG}.", "\n".join(lines[-25:]))
