"""``secret``: what steps are given and nobody can read again."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.text import Text

from .. import names
from ..command import Session, command, confirmed
from ..errors import CliError, Exit
from ..output import ago, state
from .run import Workspace

Secret = Annotated[str, typer.Argument(help="Its name, such as API_KEY.")]


def register(app: typer.Typer) -> None:
    """Put the commands in their places."""
    group = typer.Typer(no_args_is_help=True, help="Secrets of a workspace: given to steps, never shown again.")
    for name, function in (("set", put), ("ls", ls), ("rm", rm)):
        command(group, name)(function)
    app.add_typer(group, name="secret", rich_help_panel="Work")


def put(session: Session, name: Secret, workspace: Workspace = "") -> None:
    """Add a secret, or give it another value: typed unseen, or from standard input.

    orca secret set API_KEY < key.txt
    """
    where = names.workspace(session.api, workspace)
    value = _typed(name) if session.out.asks else sys.stdin.read().removesuffix("\n")
    if not value:
        raise CliError("The value is empty.", hint="Type it, or pipe it in.", exit_code=Exit.USAGE)
    answer = session.api.send("PUT", f"workspaces/{where['id']}/secrets/{name}/", json={"value": value})
    outcome = "created" if answer.status_code == 201 else "changed"
    found = answer.json()
    session.out.result(
        {"outcome": outcome, **found}, Text.assemble(state(outcome), f": {found['name']} in {where['name']}")
    )


def _typed(name: str) -> str:
    value: str = typer.prompt(f"Value of {name}", hide_input=True, err=True)
    return value


def ls(session: Session, workspace: Workspace = "") -> None:
    """The names of a workspace's secrets."""
    where = names.workspace(session.api, workspace)
    found = list(session.api.find(f"workspaces/{where['id']}/secrets/"))
    rows = [(one["name"], ago(one["changed_at"] or one["created_at"])) for one in found]
    session.out.table(found, ["name", "changed"], rows, empty=f"{where['name']} has no secrets.")


def rm(
    session: Session,
    name: Secret,
    workspace: Workspace = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)] = False,
) -> None:
    """Delete a secret, at once and for good."""
    where = names.workspace(session.api, workspace)
    confirmed(session, f"Delete the secret {name} of {where['name']} for good?", yes=yes)
    session.api.delete(f"workspaces/{where['id']}/secrets/{name}/")
    session.out.result({"name": name, "workspace": where["name"]}, f"Removed {name}.")
