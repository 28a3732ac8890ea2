"""Prefect beside Orca: its server and a process worker, in an environment, a folder and on a port of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.orca.console import ScriptError, step
from scripts.orca.paths import ROOT
from scripts.orca.run.ports import free_port

VERSION = "3.8.8"
# The server of that version does not start with FastAPI as it is today.
_PACKAGES = (f"prefect=={VERSION}", "fastapi==0.139.2")
_START_SECONDS = 120.0
_PEER = Path(__file__).with_name("prefect_peer.py")


@dataclass(frozen=True)
class Prefect:
    """A server that runs, with a worker of so many slots."""

    python: Path
    environment: dict[str, str]
    folder: Path

    def rate(self, pipelines: int, steps: int) -> float:
        """Steps a second of sequences side by side."""
        said = self.ask("run", str(pipelines), str(steps))
        return pipelines * steps / float(said.split()[-1])

    def ask(self, *words: str) -> str:
        """What the program in its environment prints. Raises ``ScriptError``."""
        command = [str(self.python), str(self.folder / _PEER.name), *words]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=900
        )
        if done.returncode:
            raise ScriptError("Prefect failed.", detail=done.stderr[-2_000:])
        return done.stdout


@contextmanager
def prefect_running(folder: Path, *, slots: int) -> Iterator[Prefect]:
    """Server and worker, up; stopped at the end. Installed once, into ``var/``."""
    python = _installed(ROOT / "var" / f"prefect-{VERSION}")
    folder.mkdir()
    shutil.copy(_PEER, folder)
    port = free_port()
    environment = {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_WORKER_QUERY_SECONDS": "0.2",
        "DO_NOT_TRACK": "1",
    }
    tool = str(python.parent / "prefect")
    prefect = Prefect(python, environment, folder)
    running: list[subprocess.Popen[bytes]] = []

    def started(*words: str) -> None:
        with (folder / "log").open("ab") as log:
            running.append(subprocess.Popen([tool, *words], cwd=folder, env=environment, stdout=log, stderr=log))

    try:
        with step("Prefect starts"):
            started("server", "start", "--host", "127.0.0.1", "--port", str(port))
            _await_up(f"http://127.0.0.1:{port}/api/health", running[0])
            made = [tool, "work-pool", "create", "bench", "--type", "process"]
            subprocess.run(made, env=environment, cwd=folder, check=True, capture_output=True)
            prefect.ask("serve", str(folder))
            started("worker", "start", "--pool", "bench", "--limit", str(slots))
        yield prefect
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            process.wait(30)


def _installed(place: Path) -> Path:
    python = place / "bin" / "python"
    if not (place / "installed").exists():
        with step(f"Prefect {VERSION} is installed (once)"):
            shutil.rmtree(place, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *_PACKAGES], check=True)
            (place / "installed").touch()
    return python


def _await_up(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 (our own address)
                return
        except (urllib.error.URLError, OSError) as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise ScriptError("Prefect's server did not come up.") from error
            time.sleep(0.2)
