"""Terraform itself, its providers, and the agent's archive."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from scripts.orca.console import ScriptError, step
from scripts.orca.paths import HOME, PYTHON, ROOT
from scripts.orca.setup.stamps import fingerprint, is_done, set_done

_LEAST = (1, 10)
_WHERE = (
    "Get it from https://developer.hashicorp.com/terraform/install and put it on PATH,\n"
    "or name the program in ORCA_TERRAFORM."
)


def terraform_ensure() -> str:
    """The path of a Terraform that is new enough; raises ``ScriptError`` where there is none."""
    wanted = os.environ.get("ORCA_TERRAFORM", "terraform")
    binary = shutil.which(wanted)
    if binary is None:
        raise ScriptError(f"Orca needs Terraform 1.10 or newer, and there is no {wanted!r} here.", _WHERE)
    seen = Path(binary).stat()
    mark = f"{binary} {seen.st_size} {seen.st_mtime_ns}"
    if not is_done("terraform", mark):
        found = terraform_version(binary)
        if found < _LEAST:
            version = ".".join(map(str, found))
            raise ScriptError(f"Orca needs Terraform 1.10 or newer; {binary} is {version}.", _WHERE)
        set_done("terraform", mark)
    return binary


def terraform_version(binary: str) -> tuple[int, ...]:
    """Major and minor number of what ``binary`` says it is."""
    done = subprocess.run([binary, "version", "-json"], capture_output=True, text=True, check=False)
    start = done.stdout.find("{")
    try:
        text = str(json.loads(done.stdout[start:])["terraform_version"])
        return tuple(int(part) for part in text.split(".")[:2])
    except (ValueError, KeyError, TypeError):
        raise ScriptError(f"{binary} does not answer as Terraform does.", _WHERE, done.stdout + done.stderr) from None


def providers_ensure() -> None:
    """Terraform's configuration for this machine, with the providers shared by every workspace."""
    out = HOME / "terraform"
    code = sorted((ROOT / "portal" / "gateways").glob("terraform_mirror*.py"))
    versions = sorted((ROOT / "terraform").rglob("versions.tf"))
    surroundings = [
        os.environ.get(name, "") for name in ("ORCA_TF_MIRROR", "TF_CLI_CONFIG_FILE", "TF_PLUGIN_CACHE_DIR")
    ]
    mark = fingerprint([*code, *versions, *surroundings])
    if is_done("providers", mark) and _mirrors_are_there(out / "terraform.rc"):
        return
    _module("Terraform's providers", "portal.gateways.terraform_mirror", "--out", str(out))
    set_done("providers", mark)


def _mirrors_are_there(configuration: Path) -> bool:
    """Whether the configuration exists and every folder of providers that it names does, too."""
    if not configuration.is_file():
        return False
    named = re.findall(r'^\s*path\s*=\s*"(.+)"', configuration.read_text(), re.MULTILINE)
    return all(Path(path).is_dir() for path in named)


def agent_ensure() -> None:
    """The agent as instances fetch it."""
    archive = HOME / "agent" / "orca-agent.tar.gz"
    mark = fingerprint([ROOT / "agents" / "orca_agent", ROOT / "requirements.txt"])
    if is_done("agent", mark) and archive.is_file():
        return
    archive.parent.mkdir(parents=True, exist_ok=True)
    _module("The agent's archive", "agents.orca_agent.build", "--out", str(archive))
    set_done("agent", mark)


def _module(name: str, module: str, *arguments: str) -> None:
    with step(name):
        done = subprocess.run(
            [str(PYTHON), "-m", module, *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise ScriptError(f"{name} could not be made.", f"Again with: {PYTHON} -m {module}", done.stdout + done.stderr)
