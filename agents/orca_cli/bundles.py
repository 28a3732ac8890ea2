"""The local files that make a script."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import CliError, Exit

# Never part of a script: what tools leave beside it.
_LEFT_OUT = (
    ".git",
    ".hg",
    ".svn",
    ".venv",
    "venv",
    "__pycache__",
    "*.pyc",
    "node_modules",
    ".DS_Store",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".ipynb_checkpoints",
    ".orcaignore",
)
_IGNORED = ".orcaignore"
MOST_FILES = 1_000


@dataclass(frozen=True)
class Bundle:
    """Files on this machine with their paths in the script, and what the script is called unless told."""

    name: str
    files: list[tuple[Path, str]]

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for path, _ in self.files)

    def fields(self) -> dict[str, Any]:
        """The form's fields that go with the files."""
        return {"paths": [where for _, where in self.files]}

    def parts(self, counted: Callable[[int], None], closing: ExitStack) -> list[tuple[str, Any]]:
        """The form's files, opened; ``counted`` hears of every piece that is read, ``closing`` closes them."""
        opened = [(closing.enter_context(path.open("rb")), path.name) for path, _ in self.files]
        return [("files", (name, _Counted(file, counted))) for file, name in opened]


class _Counted:
    """A file that tells how much of it was read."""

    def __init__(self, file: Any, counted: Callable[[int], None]) -> None:
        self._file, self._counted = file, counted

    def read(self, size: int = -1) -> bytes:
        found: bytes = self._file.read(size)
        self._counted(len(found))
        return found

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(1 << 16):
            yield piece

    def fileno(self) -> int:
        number: int = self._file.fileno()
        return number


def bundle_of(path: Path) -> Bundle:
    """The file, or everything in the folder but what tools leave there and what ``.orcaignore`` names.

    Raises ``CliError``.
    """
    if path.is_file():
        return Bundle(path.stem, [(path, path.name)])
    if not path.is_dir():
        raise CliError(f"There is no file or folder {path}.", code="no_file", exit_code=Exit.USAGE)
    ignored = (*_LEFT_OUT, *_patterns(path / _IGNORED))
    files = sorted(_found(path, "", ignored), key=lambda found: found[1])
    if not files:
        raise CliError(f"There are no files in {path}.", code="no_files", exit_code=Exit.USAGE)
    if len(files) > MOST_FILES:
        raise CliError(
            f"{path} has {len(files)} files; a script has at most {MOST_FILES}.",
            hint=f"Name what is no part of it in {path / _IGNORED}, or put data into the bucket: orca cp",
            code="too_many_files",
            exit_code=Exit.USAGE,
        )
    return Bundle(path.resolve().name, files)


def _patterns(file: Path) -> list[str]:
    if not file.is_file():
        return []
    lines = (line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines())
    return [line.rstrip("/") for line in lines if line and not line.startswith("#")]


def _found(folder: Path, below: str, ignored: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    for entry in os.scandir(folder):
        where = f"{below}{entry.name}"
        if any(fnmatch.fnmatch(entry.name, pattern) or fnmatch.fnmatch(where, pattern) for pattern in ignored):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _found(Path(entry.path), f"{where}/", ignored)
        elif entry.is_file():
            yield Path(entry.path), where
