"""Files inside of an instance's root folder, touched from outside without following any link in it.

The instance's own root decides what lies there: a link to a file of this machine must not be written (or read)
through.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def ensure_folder(root: Path, name: str, mode: int) -> bool:
    """Make ``root/name`` a real folder, whatever is there; True if it is new."""
    path = root
    path.mkdir(parents=True, exist_ok=True)
    made = False
    for part in Path(name).parts:
        path = path / part
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            path.unlink()
        if not path.exists():
            path.mkdir()
            path.chmod(mode)
            made = True
    return made


def ensure_link(root: Path, name: str, target: str) -> None:
    """Make ``root/name`` a link to ``target`` (read inside of the instance)."""
    link = root / name
    if link.is_symlink() and str(link.readlink()) == target:
        return
    _remove(link)
    link.symlink_to(target)


def write(root: Path, name: str, content: bytes, mode: int = 0o644) -> None:
    """Put a new file at ``root/name`` in the place of whatever is there."""
    path = root / name
    ensure_folder(root, str(Path(name).parent), 0o755)
    _remove(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)


def read(root: Path, name: str, limit: int = 1 << 20) -> bytes:
    """The first ``limit`` bytes of ``root/name``; empty if it is not a plain file reached without links."""
    parts = Path(name).parts
    try:
        with contextlib.ExitStack() as opened:
            here = os.open(root, _FOLDER)
            opened.callback(os.close, here)
            for part in parts[:-1]:
                here = os.open(part, _FOLDER, dir_fd=here)
                opened.callback(os.close, here)
            descriptor = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
            with os.fdopen(descriptor, "rb") as file:
                return file.read(limit)
    except OSError:
        return b""


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
