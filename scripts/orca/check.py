"""``scripts/check``: every gate that needs no running Orca, side by side, a line for each."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from scripts.orca.console import ScriptError, complain, say
from scripts.orca.paths import HOME, PYTHON, ROOT, private_folder
from scripts.orca.setup.environment import environment_install, is_current
from scripts.orca.setup.stamps import fingerprint, is_done, set_done
from scripts.orca.setup.terraform import terraform_ensure
from scripts.orca.test import environment

_LINES_SHOWN = 60
_SOURCES = tuple(name for name in ("portal", "agents", "scripts", "tests") if (ROOT / name).is_dir())
_TEMPLATES = ROOT / "portal"
_TERRAFORM = ROOT / "terraform"
_CHECKOV = HOME / "checkov-venv"
_CHECKOV_REQUIREMENTS = ROOT / "scripts" / "checkov-requirements.txt"


@dataclass(frozen=True)
class Gate:
    """A check: the commands it runs one after another, and the one that mends what it finds."""

    name: str
    commands: Callable[[], list[list[str]]]
    mend: str = ""
    sources: tuple[Path, ...] = ()
    """Where these have not changed since the gate last passed, it passes without looking."""


def _python(*arguments: str) -> list[str]:
    return [str(PYTHON), "-m", *arguments]


def gates() -> list[Gate]:
    """All of them, the slowest first."""
    manage = [str(PYTHON), "manage.py"]
    code = (*_SOURCES, "examples", "manage.py")
    return [
        Gate("types", lambda: [_python("mypy", *_SOURCES)]),
        Gate("terraform valid", _validations, sources=(_TERRAFORM,)),
        Gate("terraform advice", _advice, sources=(_TERRAFORM, _CHECKOV_REQUIREMENTS)),
        Gate("templates", lambda: [_python("djlint", str(_TEMPLATES), "--lint", "--quiet")]),
        Gate(
            "template format",
            lambda: [_python("djlint", str(_TEMPLATES), "--check")],
            ".venv/bin/python -m djlint portal --reformat",
        ),
        Gate("migrations", lambda: [[*manage, "makemigrations", "--check", "--dry-run"]], "manage.py makemigrations"),
        Gate("django", lambda: [[*manage, "check", "--fail-level", "WARNING"]]),
        Gate("imports", lambda: [_python("scripts.orca.imports")]),
        Gate("lint", lambda: [_python("ruff", "check", *code)], ".venv/bin/python -m ruff check --fix ."),
        Gate("format", lambda: [_python("ruff", "format", "--check", *code)], ".venv/bin/python -m ruff format ."),
        Gate(
            "terraform format",
            lambda: [[terraform_ensure(), "fmt", "-check", "-diff", "-recursive", str(_TERRAFORM)]],
            "terraform fmt -recursive terraform",
        ),
    ]


def _validations() -> list[list[str]]:
    """Every root module; Terraform keeps what it downloads outside the sources."""
    binary = terraform_ensure()
    found = []
    for root in sorted({path.parent for path in (_TERRAFORM / "envs").glob("*/*.tf")}):
        data = f"TF_DATA_DIR={HOME / 'check' / 'terraform' / root.name}"
        start = ["env", data, binary, f"-chdir={root}"]
        found += [[*start, "init", "-backend=false", "-input=false", "-no-color"], [*start, "validate", "-no-color"]]
    return found


def _advice() -> list[list[str]]:
    if not is_current(_CHECKOV, _CHECKOV_REQUIREMENTS):
        environment_install(_CHECKOV, _CHECKOV_REQUIREMENTS, "Checkov")
    settings = _TERRAFORM / ".checkov.yaml"
    chosen = ["--config-file", str(settings)] if settings.is_file() else []
    checkov = [str(_CHECKOV / "bin" / "python"), "-m", "checkov.main", "--directory", str(_TERRAFORM)]
    return [[*checkov, "--framework", "terraform", "--compact", "--quiet", "--skip-download", *chosen]]


def gate_pass(gate: Gate, variables: dict[str, str]) -> bool:
    """Whether the gate passes; says so in a line, or shows why not."""
    began = time.monotonic()
    mark = fingerprint(gate.sources) if gate.sources else ""
    if mark and is_done(f"gate-{gate.name.replace(' ', '-')}", mark):
        say(f"  ok    {gate.name:<18} unchanged")
        return True
    output = _failure(gate, variables)
    line = f"{gate.name:<18} {time.monotonic() - began:5.1f} s"
    if not output:
        if mark:
            set_done(f"gate-{gate.name.replace(' ', '-')}", mark)
        say(f"  ok    {line}")
        return True
    mend = f"\n  mend with: {gate.mend}" if gate.mend else ""
    say(f"  FAIL  {line}\n{output}{mend}\n")
    return False


def _failure(gate: Gate, variables: dict[str, str]) -> str:
    """What the gate has to say when it does not pass, else nothing."""
    try:
        for command in gate.commands():
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                return _cut(done.stdout.strip()) or f"{command[0]} ended with code {done.returncode}"
    except ScriptError as error:
        return "\n".join(filter(None, (error.detail, error.message, error.hint)))
    return ""


def _cut(output: str) -> str:
    lines = output.splitlines()
    rest = [f"... and {len(lines) - _LINES_SHOWN} lines more"] if len(lines) > _LINES_SHOWN else []
    return "\n".join(lines[:_LINES_SHOWN] + rest)


def main() -> int:
    began = time.monotonic()
    variables = environment() | {"ORCA_HOME": str(private_folder(HOME / "check"))}
    config = HOME / "terraform" / "terraform.rc"
    if config.is_file():
        variables["TF_CLI_CONFIG_FILE"] = str(config)
    try:
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
            passed = list(pool.map(lambda gate: gate_pass(gate, variables), gates()))
    except KeyboardInterrupt:
        return 130
    except ScriptError as error:
        complain(error)
        return 1
    failed = passed.count(False)
    said = f"{failed} of {len(passed)} gates FAILED" if failed else f"All {len(passed)} gates passed"
    say(f"{said} in {time.monotonic() - began:.1f} s.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
