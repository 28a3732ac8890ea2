"""The processes that make up Orca on one machine, and supervisor's configuration for them."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from scripts.orca.paths import HOME, LOGS, PYTHON, ROOT
from scripts.orca.run.configuration import Configuration
from scripts.orca.run.processes import leash

_GIB = 1024**3
_MEMORY_OF_A_TERRAFORM_RUN = 1.5 * _GIB
_MOST_TERRAFORM_RUNS = 4
_CHORES_AT_ONCE = 4
_JOBS_AT_ONCE = 4
_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Service:
    """One process. Services stop in the reverse order of the list that ``services`` returns."""

    name: str
    command: tuple[str, ...]
    stop_within: int = 10
    stop_signal: str = "TERM"

    @property
    def log(self) -> Path:
        return LOGS / f"{self.name}.log"


def services(configuration: Configuration) -> list[Service]:
    """What runs here, first what the others need."""
    options = configuration.options
    python = str(PYTHON)
    found = []
    if configuration.embedded_redis:
        found.append(_redis(configuration.sockets))
    if configuration.embedded_cloud:
        cloud = ("--port", str(options.cloud_port), "--data", str(HOME / "cloud"))
        ssh = ("--ssh-port", configuration.environment["ORCA_SSH_PORT"])
        found.append(Service("cloud", (python, "-m", "agents.local_cloud", *cloud, *ssh), stop_within=60))
    celery = (python, "-m", "celery", "--app", "portal.celery")
    serve = (
        "--host",
        options.host,
        "--port",
        str(options.port),
        "--timeout-graceful-shutdown",
        "3",
        "--no-access-log",
        "--no-proxy-headers",  # the portal judges them itself: uvicorn believes whoever is on this machine
    )
    return [
        *found,
        Service("worker", (*celery, *_consumer("worker", "celery", _CHORES_AT_ONCE)), stop_within=20),
        Service("terraform", (*celery, *_consumer("terraform", "terraform", terraform_count())), stop_within=20),
        Service("jobs", (*celery, *_consumer("jobs", "jobs", _JOBS_AT_ONCE)), stop_within=20),
        Service("beat", (*celery, "beat", "--loglevel", "INFO", "--pidfile=")),
        # A long poll cannot be broken off, and loses nothing when it is: what it was given comes again.
        Service("relay", (python, "manage.py", "relay"), stop_within=2),
        Service("web", (python, "-m", "uvicorn", "portal.asgi:application", *serve)),
    ]


def _redis(sockets: Path) -> Service:
    program = shutil.which("redis-server") or "redis-server"
    folder = HOME / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "port": "0",
        "unixsocket": str(sockets / "redis.sock"),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return Service("redis", (program, *(word for key, value in settings.items() for word in (f"--{key}", value))))


def _consumer(name: str, queue: str, at_once: int) -> tuple[str, ...]:
    """A worker with a queue of its own, so that no chore waits behind a Terraform run or a search for data.

    Threads: all mostly wait.
    """
    pool = ("--pool", "threads", "--concurrency", str(at_once), "--without-gossip", "--without-mingle")
    return ("worker", "--hostname", f"{name}@%h", "--queues", queue, *pool, "--loglevel", "INFO")


def terraform_count() -> int:
    """How many Terraform runs the free memory bears, at most four."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in _MEMINFO.read_text().splitlines() if _MEMINFO.is_file() else []:
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    return max(1, min(_MOST_TERRAFORM_RUNS, int(free / _MEMORY_OF_A_TERRAFORM_RUN)))


def supervisor_configuration(found: list[Service], sockets: Path) -> str:
    """Supervisor's configuration: nothing starts by itself, whatever ends is started again.

    Each process ends with supervisor, so that nothing is left over however that ends.
    """
    sections = [
        "[supervisord]",
        "nodaemon=true",
        f"logfile={_escaped(LOGS / 'supervisor.log')}",
        "logfile_maxbytes=5MB",
        "logfile_backups=1",
        f"pidfile={_escaped(sockets / 'supervisor.pid')}",
        f"directory={_escaped(ROOT)}",
        "user=root" if os.geteuid() == 0 else "",
        "",
        "[unix_http_server]",
        f"file={_escaped(sockets / 'supervisor.sock')}",
        "chmod=0700",
        "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
        "",
        "[supervisorctl]",
        f"serverurl=unix://{_escaped(sockets / 'supervisor.sock')}",
    ]
    for place, service in enumerate(found):
        sections += [
            "",
            f"[program:{service.name}]",
            f"command={_escaped(shlex.join((*leash(), *service.command)))}",
            f"priority={place}",
            "autostart=false",
            "autorestart=true",
            "startsecs=3",
            "startretries=1000000",
            f"stopsignal={service.stop_signal}",
            f"stopwaitsecs={service.stop_within}",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={_escaped(service.log)}",
            "stdout_logfile_maxbytes=10MB",
            "stdout_logfile_backups=3",
        ]
    return "\n".join(sections) + "\n"


def _escaped(value: object) -> str:
    return str(value).replace("%", "%%")
