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
    first = not is_done("prepared", _prepared_mark(configuration))
    preparing = _prepare(configuration, password := secrets.token_urlsafe(12), database=first)
    administrator = _database_await(preparing) if first else None
    supervision.start("web", "beat")
    supervision.wait_for("cloud", lambda: ready.listens(configuration.options.cloud_port))
    if first:
        _finish(preparing)
    supervision.start("worker", "terraform", "jobs", "relay")
    _finish(preparing)
    set_done("prepared", _prepared_mark(configuration))
    supervision.wait_for("web", lambda: ready.answers(f"{configuration.local_url}/healthz"))
    for name in ("worker", "terraform", "jobs"):
        supervision.wait_for(name, partial(_is_ready, supervision, name))
    for name in ("relay", "beat"):
        supervision.wait_for(name, partial(supervision.is_running, name, seconds=1))
    return Started(administrator, password)


def _is_ready(supervision: Supervision, worker: str) -> bool:
    return _WORKER_READY in supervision.log_since_start(worker)


def _prepared_mark(configuration: Configuration) -> str:
    """What the database, the static files and the cloud's part are made of; never the same for those elsewhere."""
    database, cloud = HOME / "orca.sqlite3", HOME / "cloud" / "credentials.json"
    ours = configuration.embedded_cloud and not configuration.environment.get("DATABASE_URL")
    there = str(database.stat().st_ino) if ours and database.is_file() else secrets.token_hex(8)
    sources = sorted((ROOT / "portal").rglob("migrations/*.py")) + sorted((ROOT / "portal").rglob("static"))
    return fingerprint([there, cloud, ROOT / "requirements.txt", *sources])


def _prepare(configuration: Configuration, password: str, *, database: bool) -> subprocess.Popen[str]:
    """Starts preparing: Orca's part of the cloud always, the database and static files where they may have changed."""
    arguments = ["--database"] if database else []
    if configuration.embedded_cloud:
        arguments += ["--cloud-port", str(configuration.options.cloud_port)]
    with _LOG.open("w") as log:
        return subprocess.Popen(
            [*leash(), str(PYTHON), "-m", "scripts.orca.run.prepare", *arguments],
            cwd=ROOT,
            env={**configuration.environment, "ORCA_FIRST_PASSWORD": password},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


def _database_await(preparing: subprocess.Popen[str]) -> str | None:
    """Until the database is ready; the address of the administrator who was made, if one was."""
    with step("Database and static files"):
        line = preparing.stdout.readline() if preparing.stdout else ""
    if not line:
        _finish(preparing)
    made: str | None = json.loads(line)["administrator"]
    return made


def _finish(preparing: subprocess.Popen[str]) -> None:
    with step("Orca's own part of the cloud"):
        code = preparing.wait()
    if code != 0:
        lines = _LOG.read_text(errors="replace").splitlines()
        raise ScriptError("Orca could not be prepared.", f"The whole log is {_LOG}.", "\n".join(lines[-25:]))
