"""Servers that are thrown away: on a leash, kept until somebody interrupts, with what they said where they failed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from scripts.orca.console import ScriptError, complain
from scripts.orca.run.processes import leash

_LINES = 15


def server_start(
    command: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A server that ends with this process; what it says goes into ``log``."""
    with log.open("wb") as file:
        return subprocess.Popen(
            [*leash(), *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )


def not_started(name: str, log: Path) -> ScriptError:
    """That it did not start, with its last lines."""
    lines = log.read_text(errors="replace").splitlines()[-_LINES:]
    return ScriptError(f"{name} did not start.", detail="\n".join(lines))


def command_run(command: Sequence[str]) -> None:
    """Run it to its end. Raises ``ScriptError`` with all that it said."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ScriptError(f"{Path(command[0]).name} failed.", detail=done.stdout + done.stderr)


def keep(server: AbstractContextManager[str], tell: Callable[[str], None], farewell: str) -> int:
    """``tell`` where a server is, and keep it until somebody interrupts; the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with server as place:
            tell(place)
            print(farewell, file=sys.stderr)
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except ScriptError as error:
        complain(error)
        return 1
    return 0
