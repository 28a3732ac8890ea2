"""A person's own ssh, scp and ssh-keygen."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.orca.console import ScriptError

_WITHIN = 60


@dataclass(frozen=True)
class Login:
    """How to log in to an instance whose host keys are known beforehand: nothing is trusted on first use."""

    host: str
    port: int
    user: str
    key: Path
    known_hosts: Path

    def options(self) -> list[str]:
        """For ssh and scp alike, but the port."""
        settings = {
            "UserKnownHostsFile": str(self.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": "10",
            "LogLevel": "ERROR",
        }
        return ["-F", "/dev/null", "-i", str(self.key), *(f"-o{name}={value}" for name, value in settings.items())]

    def run(self, command: str) -> str:
        """What the command prints over there; raises ``ScriptError`` when it fails."""
        return _run(["ssh", *self.options(), "-p", str(self.port), f"{self.user}@{self.host}", command])

    def copy_there(self, file: Path, target: str) -> None:
        """scp to the instance."""
        _run(["scp", "-q", *self.options(), "-P", str(self.port), str(file), f"{self.user}@{self.host}:{target}"])

    def copy_here(self, source: str, file: Path) -> None:
        """scp from the instance."""
        _run(["scp", "-q", *self.options(), "-P", str(self.port), f"{self.user}@{self.host}:{source}", str(file)])


def key_make(folder: Path) -> Path:
    """A fresh Ed25519 key pair; the public half lies beside it with ``.pub``."""
    key = folder / "id_ed25519"
    _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f", str(key)])
    return key


def login_from(answer: dict[str, Any], key: Path) -> Login:
    """From what the API says about a workspace's ``ssh``."""
    known_hosts = key.with_name("known_hosts")
    known_hosts.write_text("\n".join(answer["known_hosts"]) + "\n")
    return Login(answer["host"], int(answer["port"]), answer["user"], key, known_hosts)


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
