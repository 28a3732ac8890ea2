"""Remembers what has been done, so that doing it again costs nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from scripts.orca.paths import HOME

_FOLDER = HOME / "stamps"


def fingerprint(parts: Iterable[str | Path]) -> str:
    """A hash over texts and over the content of files and folders."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            found.update(f"text {part}\0".encode())
            continue
        files = sorted(path for path in part.rglob("*") if path.is_file()) if part.is_dir() else [part]
        for path in files:
            if path.suffix == ".pyc":
                continue
            found.update(f"file {path}\0".encode())
            found.update(path.read_bytes() if path.is_file() else b"absent")
    return found.hexdigest()


def is_done(name: str, mark: str) -> bool:
    """Whether ``name`` was last done with this ``mark``."""
    path = _FOLDER / name
    return path.is_file() and path.read_text() == mark


def set_done(name: str, mark: str) -> None:
    _FOLDER.mkdir(parents=True, exist_ok=True)
    (_FOLDER / name).write_text(mark)
