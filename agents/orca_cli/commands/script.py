"""``script``: what one runs."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from .. import completion, names
from ..bundles import Bundle, bundle_of
from ..command import Session, command, confirmed
from ..output import ago, state


def register(app: typer.Typer) -> None:
    """Put the commands in their places."""
    group = typer.Typer(no_args_is_help=True, help="What you run: a file or a folder, in versions.")
    for name, function in (("push", push), ("ls", ls), ("rm", rm)):
        command(group, name)(function)
    app.add_typer(group, name="script", rich_help_panel="Work")


def push(
    session: Session,
    path: Annotated[
        Path, typer.Argument(help="A file, a zip, or a folder; .orcaignore in it names what to leave out.")
    ],
    name: Annotated[str, typer.Option(help="What to call it; the file's or folder's name unless given.")] = "",
    entrypoint: Annotated[str, typer.Option(help="The file to start, if not main.py.")] = "",
    description: Annotated[str, typer.Option(help="What it is for; of a new one.")] = "",
) -> None:
    """Upload a script, or a new version of it. The same files again change nothing."""
    pushed = pushed_script(session, path, name=name, entrypoint=entrypoint, description=description)
    version = pushed["version"]
    shown = (
        f"{pushed['name']} version {version['number']}: {len(version['files'])} files, starts {version['entrypoint']}"
    )
    session.out.result(pushed, Text.assemble(state(pushed["outcome"]), f": {shown}"))


def pushed_script(
    session: Session, path: Path, *, name: str = "", entrypoint: str = "", description: str = ""
) -> dict[str, Any]:
    """Upload; ``outcome`` (``created``, ``changed``, ``unchanged``), ``name`` and the ``version`` that is there now."""
    bundle, api = bundle_of(path), session.api
    called = " ".join((name or bundle.name).split())
    there = [script for script in api.find("scripts/", name=called) if script["name"] == called]
    fields: dict[str, Any] = {"entrypoint": entrypoint}
    if there:
        version = _upload(session, f"scripts/{there[0]['id']}/versions/", bundle, fields)
        outcome = "unchanged" if version["number"] == there[0]["latest"] else "changed"
    else:
        version = _upload(session, "scripts/", bundle, fields | {"name": called, "description": description})
        outcome = "created"
    return {"outcome": outcome, "name": called, "script": version["script"], "version": version}


def _upload(session: Session, path: str, bundle: Bundle, fields: dict[str, Any]) -> Any:
    with session.out.transfers() as bars, ExitStack() as closing:
        bar = bars.add_task(bundle.name, total=bundle.bytes or None)

        def parts() -> Any:
            closing.close()
            bars.reset(bar)
            return bundle.parts(lambda count: bars.advance(bar, count), closing)

        return session.api.send("POST", path, data=fields | bundle.fields(), files=parts).json()


def ls(session: Session) -> None:
    """Your scripts."""
    found = list(session.api.find("scripts/"))
    rows = [(s["name"], s["latest"], s["run_count"], ago(s["last_run_at"]), s["description"]) for s in found]
    empty = "You have no script yet. Upload one: orca script push FILE"
    session.out.table(found, ["name", "version", "runs", "last run", "what for"], rows, empty=empty)


def rm(
    session: Session,
    name: Annotated[str, typer.Argument(help="Its name or id.", autocompletion=completion.script_names)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)] = False,
) -> None:
    """Take a script out of sight. Its runs stay."""
    found = names.named(session.api, "script", name)
    confirmed(session, f"Take the script {found['name']} out of sight?", yes=yes)
    session.api.delete(f"scripts/{found['id']}/")
    session.out.result(found, f"Removed {found['name']}.")
