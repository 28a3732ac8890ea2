"""The demo as a newcomer runs it: one command in a home of its own, from nothing to a result, and nothing left over."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts.orca.run.ports import free_port
from tests.fixtures.cloud import REPOSITORY

pytestmark = pytest.mark.cloud

WITHIN = 900
_STAGES = [
    "sign up",
    "confirm the e-mail address",
    "get an API token",
    "add an SSH key",
    "build the workspace",
    "upload the example",
    "run it and read its log live",
    "fetch what it made",
    "run scripts in an order",
    "log in with ssh",
    "copy files both ways with scp",
    "list the bucket with own credentials",
    "let Terraform finish",
]
# What the test run has set for itself.
_NOT_INHERITED = (
    "AWS_",
    "DATABASE_URL",
    "DJANGO_SETTINGS_MODULE",
    "EMAIL_BACKEND",
    "ORCA_BROKER_URL",
    "ORCA_ENV",
    "SECRET_KEY",
)


def environment_of(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    return kept | {"ORCA_HOME": str(home), "ORCA_SSH_PORT": str(free_port())}


def processes_of(home: Path) -> list[str]:
    """Command lines of processes that have anything to do with ``home``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
            if str(home).encode() in told:
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def demo_walked(folder: Path, *scenario: str) -> tuple[dict[str, Any], str]:
    """Walk a demo to its end in a home of its own: its last line, and all that it said. Nothing is left running."""
    home = folder / "home"
    ports = ["--port", str(free_port()), "--cloud-port", str(free_port())]
    done = subprocess.run(
        [str(REPOSITORY / "scripts" / "run"), *ports, "--demo", *scenario, "--exit"],
        cwd=folder,
        env=environment_of(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert processes_of(home) == []
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["demo"] == "ok"
    return result, done.stdout


def test_the_demo_walks_the_whole_way_and_leaves_nothing_running(tmp_path: Path) -> None:
    result, said = demo_walked(tmp_path)
    assert [stage["name"] for stage in result["stages"]] == _STAGES
    assert result["facts"]["ssh"].startswith("ssh ")
    assert "# Seattle's weather in 2014" in said
