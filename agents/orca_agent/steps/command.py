"""What is executed for a step, and in which environment."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Dict, Final, List, Mapping

from agents.orca_agent.account import Account
from agents.orca_agent.events import Reason
from agents.orca_agent.orders import Task
from agents.orca_agent.steps.bundle import top_level_names, with_unix_lines
from agents.orca_agent.steps.failure import StepFailed
from agents.orca_agent.steps.preload import shadows

PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
INPUT: Final = "input"
"""The folder of a shard's items, beside that of its script."""
COLD_START: Final = "ORCA_COLD_START"
CHANGES_INTERPRETER: Final = ("PYTHON", "LD_", "MALLOC_", "LC_", "LANG")


def base_environment(account: Account, passed_on: Mapping[str, str]) -> Dict[str, str]:
    """What every program of the steps' user gets."""
    return {
        **passed_on,
        "PATH": PATH,
        "HOME": str(account.home),
        "USER": account.name,
        "LOGNAME": account.name,
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
    }


def step_environment(
    task: Task, base: Mapping[str, str], bucket: str, folder: Path, secrets: Mapping[str, str]
) -> Dict[str, str]:
    """``folder`` is the step's work folder. What is said about the step itself cannot be overridden."""
    items = {"ORCA_INPUT": str(folder / INPUT)} if task.data is not None else {}
    return {
        **base,
        "TMPDIR": str(folder / "tmp"),
        **task.environment,
        **secrets,
        **items,
        "ORCA_WORKSPACE": task.workspace,
        "ORCA_BUCKET": bucket,
        "ORCA_RUN_ID": task.run,
        "ORCA_STEP_ID": task.step,
        "ORCA_ATTEMPT": str(task.attempt),
        "ORCA_INPUTS": str(folder / "inputs"),
        "ORCA_OUTPUT": str(folder / "script/output"),
    }


def arguments(task: Task, folder: Path, interpreter: str = "") -> List[str]:
    """The command line, to be run in ``folder``, where the bundle lies. Raises `StepFailed`."""
    name = task.script.entrypoint
    entrypoint = folder / name
    if not entrypoint.is_file():
        message = f"There is no file {name!r} in the bundle."
        raise StepFailed(Reason.BUNDLE_INVALID, message)
    if name.startswith("-"):  # an interpreter would take it for an option
        name = f"./{name}"
    if task.script.runtime == "python":
        return [interpreter or sys.executable, name, *task.arguments]
    with_unix_lines(entrypoint)
    return [*_shell(entrypoint), name, *task.arguments]


def _shell(script: Path) -> List[str]:
    """The interpreter that the script's first line names, else the shell that there is."""
    with script.open("rb") as file:
        first = file.readline(256).decode("utf-8", "replace").strip()
    if first.startswith("#!"):
        try:
            named = shlex.split(first[2:])
        except ValueError:
            named = []
        if named and os.access(named[0], os.X_OK):
            return named
    return [shutil.which("bash", path=PATH) or "/bin/sh"]


def may_start_warm(task: Task, folder: Path) -> bool:
    """Whether the warm interpreter would do the same as a fresh one, and nobody asked for that."""
    if task.script.runtime != "python" or task.script.requirements is not None:
        return False
    variables = {**dict.fromkeys(task.secret_names, "1"), **task.environment}
    if variables.get(COLD_START, "0") not in {"", "0"}:
        return False
    if any(name.startswith(CHANGES_INTERPRETER) for name in variables):
        return False
    beside = (folder / task.script.entrypoint).parent
    own = frozenset(top_level_names(beside)) - {Path(task.script.entrypoint).stem}
    return not shadows(own)
