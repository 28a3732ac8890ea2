"""The virtual environment, installed from pinned requirements."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

from scripts.orca.console import ScriptError, say, step
from scripts.orca.paths import PYTHON, ROOT, VENV
from scripts.orca.setup import packages

_REQUIREMENTS = ROOT / "requirements.txt"
_ATTEMPTS = 4
_COMMAND = """#!/bin/sh
bin=$(dirname -- "$(readlink -f -- "$0")")
PYTHONPATH="$bin/../..${PYTHONPATH:+:$PYTHONPATH}" exec "$bin/python" -m agents.orca_cli "$@"
"""
_NETWORK_FAULTS = (
    "connection",
    "timed out",
    "timeout",
    "temporary failure",
    "name resolution",
    "http error 5",
)


def environment_ensure() -> None:
    """``.venv`` as ``requirements.txt`` says, with what building it needs; nothing when it already is."""
    if not is_current(VENV, _REQUIREMENTS):
        packages.packages_ensure(packages.BUILD)
        environment_install(VENV, _REQUIREMENTS, "Python packages")
    command_ensure(VENV)


def command_ensure(folder: Path) -> None:
    """``bin/orca`` in the environment: the command line, from the sources beside the environment."""
    command = folder / "bin" / "orca"
    if not command.is_file() or command.read_text() != _COMMAND:
        command.write_text(_COMMAND)
        command.chmod(0o755)


def is_current(folder: Path, requirements: Path) -> bool:
    """Whether ``folder`` holds a working environment with exactly these requirements."""
    stamp = folder / "requirements.sha256"
    return stamp.is_file() and stamp.read_text() == _mark(requirements) and _works(folder)


def environment_install(folder: Path, requirements: Path, name: str) -> None:
    """Makes the environment where there is none and installs; retries when the network fails in passing."""
    if not _works(folder):
        base = getattr(sys, "_base_executable", sys.executable)
        with step(f"Virtual environment {folder.name}"):
            made = subprocess.run(
                [base, "-m", "venv", "--clear", str(folder)], capture_output=True, text=True, check=False
            )
        if made.returncode != 0:
            shutil.rmtree(folder, ignore_errors=True)
            raise ScriptError(
                f"No virtual environment could be made with {base}.",
                "Debian and Ubuntu keep that in a package of its own: sudo apt-get install python3-venv",
                made.stdout + made.stderr,
            )
    mark = _mark(requirements)  # of what is installed now, whatever becomes of the file meanwhile
    with step(f"{name} ({requirements.name}, about a minute the first time)"):
        _pip_install(folder, requirements)
    (folder / "requirements.sha256").write_text(mark)


def _pip_install(folder: Path, requirements: Path) -> None:
    log = folder / "install.log"
    command = [
        str(folder / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
    ]
    for attempt in range(1, _ATTEMPTS + 1):
        with log.open("w") as output:
            done = subprocess.run(
                [*command, "-r", str(requirements)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode == 0:
            return
        lines = log.read_text(errors="replace").splitlines()
        errors = " ".join(lines).lower()
        if attempt == _ATTEMPTS or not any(fault in errors for fault in _NETWORK_FAULTS):
            raise ScriptError(
                f"pip could not install {requirements.name}.",
                f"The whole output is in {log}. Run the same command again once it is mended.",
                "\n".join(lines[-15:]),
            )
        say(f"  pip met a network fault; trying again ({attempt} of {_ATTEMPTS - 1})")
        time.sleep(3 * attempt)


def _works(folder: Path) -> bool:
    python = folder / "bin" / "python"
    if python == PYTHON and Path(sys.prefix) == VENV:
        return True
    if not python.exists():
        return False
    probe = "import sys, pip; raise SystemExit(sys.version_info < (3, 11))"
    return subprocess.run([str(python), "-I", "-c", probe], capture_output=True, check=False).returncode == 0


def _mark(requirements: Path) -> str:
    return hashlib.sha256(requirements.read_bytes()).hexdigest()
