"""What a machine needs before Orca can run, be tested or be checked; quick where nothing is missing."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from scripts.orca.console import step
from scripts.orca.paths import ROOT
from scripts.orca.setup import packages
from scripts.orca.setup.environment import environment_ensure
from scripts.orca.setup.secrets import secrets_ensure
from scripts.orca.setup.terraform import agent_ensure, providers_ensure, terraform_ensure

Purpose = Literal["run", "test", "check", "mariadb", "engine", "images"]


def set_up(purpose: Purpose) -> None:
    """Brings the machine to where ``purpose`` needs it; raises ``ScriptError`` with the way out."""
    with _alone():
        if purpose in {"run", "test"}:
            packages.packages_ensure(packages.RUN)
        if purpose in {"test", "mariadb"}:
            packages.packages_ensure(packages.TEST if purpose == "test" else packages.TEST[:1])
        if purpose in {"engine", "images"}:
            packages.packages_ensure(packages.ENGINE if purpose == "engine" else packages.IMAGES)
        if purpose in {"run", "test", "check"}:
            terraform_ensure()
        environment_ensure()
        if purpose in {"run", "test", "check"}:
            providers_ensure()
        if purpose in {"run", "test"}:
            agent_ensure()
        if purpose == "run":
            secrets_ensure()


@contextmanager
def _alone() -> Iterator[None]:
    """One set-up of this tree at a time."""
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with step("Waiting for another set-up of this tree"):
                fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
