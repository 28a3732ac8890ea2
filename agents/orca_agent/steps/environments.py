"""Python environments for scripts with requirements: built once for each list of requirements, then shared.

An environment lies at its final place from the start, because it cannot be moved; a file in it says that it
is complete. Where the steps' user is not the agent's, a complete one belongs to the agent: steps can use it
but not change it for one another.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import sys
import sysconfig
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Dict, Final, Iterator, List, Optional, Sequence, Set, Tuple

from agents.orca_agent.account import Account, chown_tree
from agents.orca_agent.events import Reason
from agents.orca_agent.steps.failure import StepFailed

COMPLETE: Final = "orca-complete"
KEPT: Final = 20
WAIT: Final = 0.2
LAST_LINES: Final = 12
REFERS: Final = re.compile(rb"^\s*(-|\.|file:)|@\s*(file:|\.)", re.MULTILINE)
INSTALL: Final = ("install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off", "-r")
WHEELS: Final = ("/usr/share/python-wheels", "/usr/share/python3-wheels")

Run = Callable[[Sequence[str]], Tuple[int, List[str]]]
"""Runs a program as the steps' user, its output going to the step's log; returns its exit code and last lines."""


def environment_key(requirements: bytes, bundle_sha256: str) -> str:
    """A name for what an environment holds. A list that may refer to other files counts the whole bundle."""
    digest = hashlib.sha256(f"{sys.version}\n{sys.base_prefix}\n".encode())
    digest.update(requirements.replace(b"\r\n", b"\n"))
    if REFERS.search(requirements):
        digest.update(bundle_sha256.encode())
    return digest.hexdigest()[:32]


def bundled_pip() -> Optional[Path]:
    """The pip that comes with Python as a wheel, out of which it can be run."""
    places = [*WHEELS, sysconfig.get_config_var("WHEEL_PKG_DIR") or ""]
    spec = importlib.util.find_spec("ensurepip")
    if spec is not None and spec.origin:
        places.append(f"{Path(spec.origin).parent}/_bundled")
    found = [wheel for place in places if place for wheel in Path(place).glob("pip-*.whl")]
    return max(found, key=lambda wheel: wheel.name) if found else None


def build(folder: Path, requirements: Path, run: Run) -> None:
    """Make the environment in ``folder`` and install what the file lists. Raises `StepFailed`.

    To put pip into each environment would take longer than most requirements do.
    """
    wheel = bundled_pip()
    make = [sys.executable, "-m", "venv", *(["--without-pip"] if wheel else []), str(folder)]
    pip = [f"{wheel}/pip"] if wheel else ["-m", "pip"]
    for argv in (make, [str(interpreter(folder)), *pip, *INSTALL, str(requirements)]):
        exit_code, last = run(argv)
        if exit_code != 0:
            errors = [line for line in last if line.startswith("ERROR:")] or last
            told = "\n".join(errors[-LAST_LINES:])
            message = f"The requirements could not be installed (pip ended with {exit_code}).\n{told}"
            raise StepFailed(Reason.REQUIREMENTS_FAILED, message.strip())


def interpreter(folder: Path) -> Path:
    return folder / "bin/python"


class EnvironmentStore:
    """The environments of this instance. Of steps that want the same one, the first builds it and the others wait."""

    def __init__(self, folder: Path, account: Account) -> None:
        self._folder = folder
        self._account = account
        self._changed = threading.Condition()
        self._building: Set[str] = set()
        self._users: Dict[str, int] = {}

    def remove_unfinished(self) -> None:
        """After a start: what an agent was building when it was killed."""
        for folder in self._folder.iterdir():
            if not (folder / COMPLETE).exists():
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def hold(self, key: str, make: Callable[[Path], None], check: Callable[[], None]) -> Iterator[Path]:
        """The folder of an environment, which stays while the block runs.

        Where there is none, ``make`` makes it in the folder that it is given. ``check`` is called now and
        then while another step makes it, and may raise.
        """
        folder = self._folder / key
        with self._changed:
            while key in self._building:
                self._changed.wait(WAIT)
                check()
            ready = (folder / COMPLETE).exists()
            if not ready:
                self._building.add(key)
            self._users[key] = self._users.get(key, 0) + 1
        try:
            if ready:
                os.utime(folder / COMPLETE)
            else:
                self._make(key, folder, make)
            yield folder
        finally:
            with self._changed:
                self._users[key] -= 1

    def _make(self, key: str, folder: Path, make: Callable[[Path], None]) -> None:
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(0o755)
            self._account.own(folder)
            make(folder)
            if self._account.uid is not None:
                chown_tree(folder, os.getuid(), os.getgid())
            (folder / COMPLETE).touch()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            with self._changed:
                self._building.discard(key)
                self._changed.notify_all()
        self._make_room()

    def _make_room(self) -> None:
        with self._changed:
            markers = sorted(self._folder.glob(f"*/{COMPLETE}"), key=lambda path: path.stat().st_mtime)
            for marker in markers[: max(0, len(markers) - KEPT)]:
                if not self._users.get(marker.parent.name):
                    shutil.rmtree(marker.parent, ignore_errors=True)
