"""Logging in to a workspace with the OpenSSH client: its host is known beforehand, so nothing is trusted blindly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import CliError, Exit
from .profiles import folder


def address_of(workspace: Any) -> Any:
    """Host, port, user and known hosts. Raises ``CliError`` where nothing runs that one could log in to."""
    if workspace["ssh"]:
        return workspace["ssh"]
    name, state = workspace["name"], workspace["state"]
    hint = {
        "stopped": f"Start it: orca workspace start {name}",
        "stopping": f"Start it: orca workspace start {name}",
        "destroyed": f"Build it again: orca workspace apply {name}",
    }.get(state, f"Look at it: orca workspace status {name}")
    raise CliError(
        f"The workspace {name} is {state}: no instance of it runs.",
        hint=hint,
        code="no_instance",
        exit_code=Exit.CONFLICT,
    )


def known_hosts(workspace: Any) -> Path:
    """A file with the keys of the workspace's hosts, as its instances reported them; written afresh each time."""
    path = folder() / "known_hosts" / str(workspace["id"])
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in address_of(workspace)["known_hosts"]))
    return path


def options(workspace: Any) -> dict[str, str]:
    """What the client has to be told, as ``ssh_config`` names it."""
    address = address_of(workspace)
    return {
        "HostName": address["host"],
        "Port": str(address["port"]),
        "User": address["user"],
        "UserKnownHostsFile": f'"{known_hosts(workspace)}"',
        "StrictHostKeyChecking": "yes",
    }


def command(workspace: Any, arguments: list[str]) -> list[str]:
    """The command to run."""
    told = [part for name, value in options(workspace).items() for part in ("-o", f"{name}={value}")]
    return ["ssh", *told, f"orca-{workspace['id']}", *arguments]


def config(workspace: Any) -> str:
    """A block for ``~/.ssh/config``."""
    alias = "-".join(str(workspace["name"]).lower().split())
    lines = [f"Host orca-{alias}", *(f"  {name} {value}" for name, value in options(workspace).items())]
    return "\n".join(lines)
