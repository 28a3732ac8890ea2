"""A person's own ssh, scp and ssh-keygen."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.orca.console import ScriptError

_WITHIN = 60


@dataclass(frozen=True)
class Login:
    """How to log in: ``host`` as ``configuration`` describes it, with host keys that are known beforehand."""

    configuration: Path
    host: str

    @property
    def command(self) -> str:
        """For a person to paste."""
        return shlex.join(["ssh", "-F", str(self.configuration), self.host])

    def run(self, command: str) -> str:
        """What the command prints over there; raises ``ScriptError`` when it fails."""
        return _run(["ssh", "-F", str(self.configuration), self.host, command])

    def copy_there(self, file: Path, target: str) -> None:
        """scp to the instance."""
        _run(["scp", "-q", "-F", str(self.configuration), str(file), f"{self.host}:{target}"])

    def copy_here(self, source: str, file: Path) -> None:
        """scp from the instance."""
        _run(["scp", "-q", "-F", str(self.configuration), f"{self.host}:{source}", str(file)])


def key_make(folder: Path) -> Path:
    """A fresh Ed25519 key pair; the public half lies beside it with ``.pub``."""
    key = folder / "id_ed25519"
    _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f", str(key)])
    return key


def login_from(answer: dict[str, Any], key: Path) -> Login:
    """From what the API says about a workspace's ``ssh``; nothing is trusted on first use."""
    known_hosts, configuration = key.with_name("known_hosts"), key.with_name("ssh_config")
    known_hosts.write_text("\n".join(answer["known_hosts"]) + "\n")
    settings = {
        "HostName": answer["host"],
        "Port": answer["port"],
        "User": answer["user"],
        "IdentityFile": f'"{key}"',
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": f'"{known_hosts}"',
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "ConnectTimeout": "10",
    }
    lines = ["Host workspace", *(f"    {name} {value}" for name, value in settings.items())]
    configuration.write_text("\n".join(lines) + "\n")
    return Login(configuration, "workspace")


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_WITHIN, check=False
        )
    except subprocess.TimeoutExpired:
        raise ScriptError(f"{command[0]} did not come back within {_WITHIN} s.") from None
    if done.returncode != 0:
        raise ScriptError(f"{command[0]} ended with code {done.returncode}.", detail=done.stdout + done.stderr)
    return done.stdout
