"""An initialised copy of the root module, made once and shared by all workspaces.

``terraform init`` costs two seconds, most of them for the checksum of the 700 MB provider, and its result is the same
for every workspace: which one is meant is said by ``TF_WORKSPACE`` alone. So it runs once for each version of the
modules, the program and the provider configuration, on a copy of the modules. A deploy that changes the modules makes
a new copy and leaves the runs on the old one alone, and the installed tree may be read-only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SOURCES = ("*.tf", "*.tftpl")
_LOCK_FILE = ".terraform.lock.hcl"
_HASHES = re.compile(r"^\s*hashes\s*=\s*\[.*?\]\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class PreparedRoot:
    """``directory``: where Terraform runs. ``data``: what ``init`` made there, to be linked into each data folder."""

    directory: Path
    data: Path
    fingerprint: str


def root_prepare(root: Path, data_root: Path, *, salt: str, initialise: Callable[[Path, Path], None]) -> PreparedRoot:
    """The prepared copy of ``root`` (a folder ``<tree>/envs/<name>`` beside ``<tree>/modules``).

    ``salt`` stands for everything but the modules that the result depends on. ``initialise(directory, data)`` runs
    ``terraform init``; what it raises passes through, and leaves nothing behind.
    """
    sources = _sources(root)
    fingerprint = _fingerprint(sources, salt)
    home = data_root / "_roots"
    place = home / f"{root.name}-{fingerprint[:16]}"
    prepared = PreparedRoot(place / "tree" / "envs" / root.name, place / "data", fingerprint)
    if _whole(prepared):
        return prepared
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(home / "lock"):
        if _whole(prepared):
            return prepared
        shutil.rmtree(place, ignore_errors=True)
        draft = Path(tempfile.mkdtemp(prefix="draft-", dir=home))
        try:
            for name, content in sources:
                target = draft / "tree" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            directory = draft / "tree" / "envs" / root.name
            initialise(directory, draft / "data")
            _forget_checksums(directory / _LOCK_FILE)
            draft.rename(place)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    return prepared


def _whole(prepared: PreparedRoot) -> bool:
    """Whether it is there, and the providers that it links to are too: a mirror may have been replaced."""
    packages = prepared.data.glob("providers/*/*/*/*/*")
    return prepared.directory.is_dir() and all(package.exists() for package in packages)


def data_link(prepared: PreparedRoot, data_dir: Path) -> None:
    """Make ``data_dir`` an initialised data folder: its own, but for the providers, which all share."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    stamp = data_dir / "prepared"
    if stamp.exists() and stamp.read_text() == prepared.fingerprint:
        return
    stamp.unlink(missing_ok=True)
    for name in ("providers", "modules", "terraform.tfstate"):
        _remove(data_dir / name)
    (data_dir / "providers").symlink_to(prepared.data / "providers")
    shutil.copytree(prepared.data / "modules", data_dir / "modules")
    shutil.copy2(prepared.data / "terraform.tfstate", data_dir / "terraform.tfstate")
    stamp.write_text(prepared.fingerprint)


def _sources(root: Path) -> list[tuple[str, bytes]]:
    tree = root.parents[1]
    folders = [root, tree / "modules"]
    files = sorted(
        file
        for folder in folders
        for pattern in _SOURCES
        for file in folder.rglob(pattern)
        if not any(part.startswith(".") for part in file.relative_to(tree).parts)
    )
    return [(str(file.relative_to(tree)), file.read_bytes()) for file in files]


def _fingerprint(sources: list[tuple[str, bytes]], salt: str) -> str:
    digest = hashlib.sha256(salt.encode())
    for name, content in sources:
        digest.update(f"\0{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _forget_checksums(lock_file: Path) -> None:
    """Keep the provider's version in the lock file, drop its checksums.

    ``init`` has just checked the provider against them. With them in the file, each plan and each apply would read
    all 700 MB again, for a second of processor time, and learn what it already knows.
    """
    if lock_file.exists():
        lock_file.write_text(_HASHES.sub("", lock_file.read_text()))


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
