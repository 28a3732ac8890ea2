"""``ssh-key``: the keys that open one's instances."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..command import Session, command
from ..errors import CliError, Exit
from ..output import ago

_USUAL = ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub")


def register(app: typer.Typer) -> None:
    """Put the commands in their places."""
    group = typer.Typer(no_args_is_help=True, help="The keys that open your instances.")
    for name, function in (("add", add), ("ls", ls), ("rm", rm)):
        command(group, name)(function)
    app.add_typer(group, name="ssh-key", rich_help_panel="You")


def add(
    session: Session,
    file: Annotated[Path | None, typer.Argument(help="The public key; your usual one unless given.")] = None,
    name: Annotated[str, typer.Option(help="What to call it; its comment unless given.")] = "",
) -> None:
    """Let a key into all of your instances; it works within seconds."""
    path = file or _usual()
    if path.suffix != ".pub" and path.with_name(path.name + ".pub").is_file():
        path = path.with_name(path.name + ".pub")  # the private half stays where it is
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise CliError(f"{path} cannot be read.", exit_code=Exit.USAGE) from error
    if "PRIVATE KEY" in text:
        raise CliError(
            f"{path} is a private key: it is never sent anywhere.",
            hint="Give the file that ends in .pub.",
            code="private_key",
            exit_code=Exit.USAGE,
        )
    try:
        key = session.api.post("ssh-keys/", {"name": name, "public_key": text.strip()})
    except CliError as error:
        if error.code != "key_exists":
            raise
        mine = [key for key in session.api.find("ssh-keys/") if key["fingerprint"] == error.hint]
        session.out.result(mine[0] if mine else {}, f"unchanged: {path} opens your instances already.")
        return
    session.out.result(key, f"created: {key['name']} ({key['fingerprint']}) opens your instances.")
    if key["advice"]:
        session.out.warn(key["advice"])


def _usual() -> Path:
    found = [path for name in _USUAL if (path := Path.home() / ".ssh" / name).is_file()]
    if not found:
        raise CliError(
            "There is no key in ~/.ssh.",
            hint="Make one: ssh-keygen -t ed25519",
            code="no_key",
            exit_code=Exit.USAGE,
        )
    return found[0]


def ls(session: Session) -> None:
    """Your keys."""
    found = list(session.api.find("ssh-keys/"))
    rows = [(key["name"], key["fingerprint"], ago(key["created_at"])) for key in found]
    session.out.table(found, ["name", "fingerprint", "added"], rows, empty="No key yet. Add one: orca ssh-key add")


def rm(session: Session, key: Annotated[str, typer.Argument(help="Its name, fingerprint or id.")]) -> None:
    """Take a key out of all of your instances."""
    found: list[Any] = [
        one for one in session.api.find("ssh-keys/") if key in (one["id"], one["name"], one["fingerprint"])
    ]
    if len(found) != 1:
        trouble = "There is no key" if not found else "Several keys are"
        raise CliError(f"{trouble} called {key}.", hint="See: orca ssh-key ls", exit_code=Exit.NOT_FOUND)
    session.api.delete(f"ssh-keys/{found[0]['id']}/")
    session.out.result(found[0], f"Removed {found[0]['name']}.")
