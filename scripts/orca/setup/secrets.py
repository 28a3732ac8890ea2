"""``var/orca.env``: what every process of this installation must agree on and nobody else may read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from scripts.orca.paths import ENV_FILE, HOME, private_folder

_HEAD = """\
# Made by scripts/run. Keep it: with another SECRET_KEY nobody stays signed in and second factors are lost.
# docs/settings.md says what else may stand here.
"""


def secrets_ensure(path: Path = ENV_FILE) -> None:
    """Writes the file where there is none, and a key where it names none."""
    private_folder(HOME)
    if "SECRET_KEY" in read(path) or os.environ.get("SECRET_KEY"):
        return
    text = path.read_text() if path.is_file() else _HEAD
    if not text.endswith("\n"):
        text += "\n"
    write_private(path, text + f"SECRET_KEY={secrets.token_urlsafe(48)}\n")


def read(path: Path = ENV_FILE) -> dict[str, str]:
    """The variables that the file sets."""
    if not path.is_file():
        return {}
    found = {}
    for line in path.read_text().splitlines():
        name, given, value = line.strip().removeprefix("export ").partition("=")
        if given and not name.startswith("#"):
            found[name.strip()] = value.strip().strip("'\"")
    return found


def write_private(path: Path, text: str) -> None:
    """Replaces ``path`` at once, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
