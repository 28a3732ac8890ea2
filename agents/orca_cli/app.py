"""``orca``: the program, its commands, and how it ends."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from . import __version__
from .commands import files, job, login, pipeline, run, schedule, script, secret, ssh_key, usage, workspace

app = typer.Typer(
    name="orca",
    help="Run your scripts and pipelines in your own piece of cloud.",
    epilog="First: orca login https://orca.example.org. Shell completion: orca --install-completion. "
    "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 log in first, 4 not found, 5 not now, 6 unreachable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"orca {__version__}")
        raise typer.Exit


@app.callback()
def orca(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Run your scripts and pipelines in your own piece of cloud."""


for subject in (workspace, run, script, pipeline, job, schedule, secret, files, usage, login, ssh_key):
    subject.register(app)


def main() -> None:
    """The program. Never ends with a traceback, unless ``ORCA_DEBUG`` asks for one."""
    try:
        app(prog_name="orca")
    except BrokenPipeError:  # who reads has had enough, as in “orca runs logs | head”
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
