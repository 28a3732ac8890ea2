"""``python -m scripts.orca <command>``: sets the machine up, then runs the command in ``.venv``."""

from __future__ import annotations

import os
import sys

from scripts.orca.console import ScriptError, complain
from scripts.orca.paths import PYTHON, ROOT
from scripts.orca.run.options import parse as parse_run
from scripts.orca.setup import Purpose, set_up

_COMMANDS: dict[str, Purpose] = {
    "run": "run",
    "test": "test",
    "check": "check",
    "mariadb": "mariadb",
    "bench": "run",
    "engine": "engine",
    "images": "images",
}


def prepare(command: str, rest: list[str]) -> int:
    """Exit code: 0 when the command can run now."""
    if command == "run":
        parse_run(rest)  # answers --help and refuses a wrong option before anything is installed
    try:
        set_up(_COMMANDS[command])
    except ScriptError as error:
        complain(error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def main(command: str, *rest: str) -> None:
    if code := prepare(command, list(rest)):
        sys.exit(code)
    os.chdir(ROOT)
    sys.stdout.flush()
    # In place of this process, so that signals and the terminal are the command's own.
    os.execv(PYTHON, [str(PYTHON), "-m", f"scripts.orca.{command}", *rest])  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
