"""What every command shares: its session, ``--profile``, ``--json``, and errors in words instead of tracebacks."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from . import completion
from .api import Api
from .errors import CliError, Exit
from .output import Output
from .profiles import Profile, Profiles, profile_chosen, profiles

P = ParamSpec("P")


@dataclass
class Session:
    """One use of the program: as whom, where, and how to speak."""

    profile_named: str
    out: Output

    @cached_property
    def file(self) -> Profiles:
        """The configuration file."""
        found = profiles()
        if found.is_open_to_others():
            self.out.warn(f"Others on this machine can read {found.path}, and your token in it: chmod 600 it.")
        return found

    @cached_property
    def profile(self) -> Profile:
        """The way in."""
        return profile_chosen(self.file, self.profile_named)

    @cached_property
    def api(self) -> Api:
        """Orca, with a token. Raises ``CliError`` where there is none."""
        if not self.profile.token:
            named = "" if self.profile.name == "default" else f" --profile {self.profile.name}"
            raise CliError(
                f"You are not logged in to {self.profile.url}.",
                hint=f"Log in: orca login {self.profile.url}{named}",
                code="not_logged_in",
                exit_code=Exit.LOGIN,
            )
        return self.api_of(self.profile)

    def api_of(self, profile: Profile) -> Api:
        """Orca by another way in."""
        return Api(profile, note=self.out.note)


AsJson = Annotated[
    bool, typer.Option("--json", help="Machine-readable: one JSON value on stdout, nothing else.", show_default=False)
]
ProfileNamed = Annotated[
    str,
    typer.Option(
        "--profile",
        help="The profile to use instead of the usual one.",
        show_default=False,
        autocompletion=completion.profile_names,
    ),
]


def command(
    group: typer.Typer, name: str, *, trouble: int | None = None, **more: Any
) -> Callable[[Callable[Concatenate[Session, P], None]], Callable[Concatenate[Session, P], None]]:
    """Make a function a command of ``group``: it gets a ``Session`` first, and ``--profile`` and ``--json`` for it.

    ``trouble`` is the exit code of whatever goes wrong, where others would be taken for something else.
    """

    def add(function: Callable[Concatenate[Session, P], None]) -> Callable[Concatenate[Session, P], None]:
        _, *own = inspect.signature(function, eval_str=True).parameters.values()

        def run(*, profile_named: str, as_json: bool, **given: Any) -> None:
            out = Output(as_json=as_json)
            try:
                function(Session(profile_named, out), **given)  # type: ignore[call-arg]
            except CliError as error:
                out.error(error)
                said_so = error.exit_code >= Exit.TIMED_OUT
                raise typer.Exit(error.exit_code if trouble is None or said_so else trouble) from error
            except (typer.Exit, typer.Abort, KeyboardInterrupt, BrokenPipeError):
                raise
            except Exception as error:
                if os.environ.get("ORCA_DEBUG"):
                    raise
                fault = f"This is a fault of the command line: {type(error).__name__}: {error}"
                out.error(CliError(fault, hint="ORCA_DEBUG=1 shows where it happened.", code="fault"))
                raise typer.Exit(trouble or Exit.REFUSED) from error

        shared = {"profile_named": (ProfileNamed, ""), "as_json": (AsJson, False)}
        added = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
            for key, (kind, default) in shared.items()
        ]
        ours = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        run.__signature__ = inspect.Signature([*ours, *added])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*ours, *added]}
        run.__doc__ = function.__doc__
        group.command(name, **more)(run)
        return function

    return add


def confirmed(session: Session, question: str, *, yes: bool) -> None:
    """Go on only with a person's yes. Raises ``CliError`` where nobody can be asked, ``typer.Abort`` at a no."""
    if yes:
        return
    if not session.out.asks:
        raise CliError(f"{question} Nobody is there to say yes.", hint="Say it with --yes.", exit_code=Exit.USAGE)
    sys.stdout.flush()
    if not typer.confirm(question, err=True):
        raise typer.Abort
