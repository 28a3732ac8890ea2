"""The pages that people look at most, with few and with many runs, each between turns of the others.

Floor: a Django view that does nothing, served by the same command in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from scripts.orca.bench.figures import Report
from scripts.orca.bench.load import load
from scripts.orca.console import ScriptError, say, step
from scripts.orca.paths import ROOT
from scripts.orca.run.configuration import Configuration
from scripts.orca.run.options import parse
from scripts.orca.run.ports import free_port
from scripts.orca.run.ready import listens
from scripts.orca.run.services import services

FEW: Final = 10
MANY: Final = 10_000
FLOOR: Final = "bare_view"
PAGES: Final = ("dashboard", "runs", "run", "run_log")
PORTAL: Final = "portal.asgi:application"
BARE: Final = "scripts.orca.bench.bare_view:application"
_START_SECONDS: Final = 60.0


@dataclass
class Target:
    """A page: where it is, and what was measured of it."""

    port: int
    path: str
    headers: Mapping[str, str]
    took: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)


def measure(arguments: list[str]) -> Report:
    """``--rounds N --seconds S --connections C``."""
    reader = argparse.ArgumentParser(prog="scripts/bench/pages")
    reader.add_argument("--rounds", type=int, default=5, help="turns of each page (default: %(default)s)")
    reader.add_argument("--seconds", type=float, default=1.5, help="length of a turn (default: %(default)s)")
    reader.add_argument("--connections", type=int, default=4, help="kept-alive connections (default: %(default)s)")
    given = reader.parse_args(arguments)
    report = Report("pages")
    with tempfile.TemporaryDirectory(prefix="orca-bench-pages-") as folder, ExitStack() as running:
        targets = {FLOOR: Target(running.enter_context(_served(BARE, dict(os.environ))), "/", {})}
        for runs in (FEW, MANY):
            _portal(Path(folder), runs, targets, report, running)
        with step(f"{given.rounds} turns of {len(targets)} pages"):
            for _ in range(given.rounds + 1):
                for target in targets.values():
                    _turn(target, given.connections, given.seconds)
    say(f"{given.connections} kept-alive connections, {given.rounds} turns of {given.seconds} s each:")
    for name, target in targets.items():
        report.add(f"{name}_ms", [1000 * seconds for seconds in target.took], "ms")
        report.add(f"{name}_per_second", target.per_second[1:], "1/s")
    for page in PAGES:
        few, many = (report.figures[f"{page}_{runs}_ms"].median for runs in (FEW, MANY))
        report.ratio(f"{page}_{MANY}_to_{FEW}", many / few)
        rates = (report.figures[f"{name}_per_second"].median for name in (f"{page}_{FEW}", FLOOR))
        report.ratio(f"{page}_to_bare_view", next(rates) / next(rates))
    return report


def _turn(target: Target, connections: int, seconds: float) -> None:
    """One turn. The first of all warms up: its answers do not count."""
    found = load(target.port, target.path, connections=connections, seconds=seconds, headers=target.headers)
    if target.per_second:
        target.took += found.took
    target.per_second.append(found.per_second)


def _portal(folder: Path, runs: int, targets: dict[str, Target], report: Report, running: ExitStack) -> None:
    """A portal of its own whose one person has so many runs."""
    home = folder / str(runs)
    home.mkdir()
    if runs != FEW:
        (home / "static").symlink_to(folder / str(FEW) / "static")  # the same files: to be made once
    environment = portal_environment(home)
    with step(f"A database with {runs} runs"):
        scene = _scene(runs, environment)
    port = running.enter_context(_served(PORTAL, environment))
    for page in PAGES:
        headers = {"Cookie": f"sessionid={scene['cookie']}"}
        targets[f"{page}_{runs}"] = Target(port, scene["pages"][page], headers)
        queries: int = scene["queries"][page]
        report.add(f"queries_{page}_{runs}", [queries], "queries")


def portal_environment(home: Path) -> dict[str, str]:
    """The portal's, without what the caller may have set for an Orca of their own."""
    foreign = ("ORCA_", "AWS_", "DATABASE_URL", "SECRET_KEY", "DJANGO_SETTINGS_MODULE", "DEBUG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {
        **kept,
        "ORCA_HOME": str(home),
        "SECRET_KEY": secrets.token_urlsafe(40),
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }


def _scene(runs: int, environment: Mapping[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "scripts.orca.bench.pages_scene", str(runs)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ScriptError(f"A database with {runs} runs could not be made.", detail=done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def _served(application: str, environment: dict[str, str]) -> Iterator[int]:
    """An application behind the command that `scripts/run` uses for the web; its port."""
    port = free_port()
    command = _web_command(application, port)
    process = subprocess.Popen([*command, "--log-level", "warning"], cwd=ROOT, env=environment)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ScriptError(f"{application} did not start.")
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _web_command(application: str, port: int) -> list[str]:
    options = parse(["--port", str(port)])
    configuration = Configuration(
        options,
        url="",
        local_url="",
        sockets=Path(),
        environment={},
        embedded_cloud=False,
        embedded_redis=False,
    )
    web = next(service for service in services(configuration) if service.name == "web")
    return [application if word == PORTAL else word for word in web.command]
