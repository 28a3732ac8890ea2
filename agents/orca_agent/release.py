"""The agent's own archive: which one this is, and how another one takes its place."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final, NoReturn

from agents.orca_agent.cloud.bucket import Bucket
from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.fields import SHA256
from agents.orca_agent.orders import Release
from agents.orca_agent.steps.process import CODE

log = logging.getLogger(__name__)

MAX_ARCHIVE: Final = 64 * 1024 * 1024
BLOCK: Final = 256 * 1024
CHECK_SECONDS: Final = 60
DEVELOPMENT: Final = "development"


class ReleaseError(Exception):
    """The other release cannot be used."""


def running_version(code: str = CODE) -> str:
    """The sha256 of the archive that this agent was unpacked from, or "development"."""
    name = Path(code).name
    return name if SHA256.fullmatch(name) else DEVELOPMENT


def fetch(release: Release, releases: Path, bucket: Bucket) -> Path:
    """Unpack the release beside ours and try it. Returns its folder; raises `ReleaseError`."""
    folder = releases / release.sha256
    try:
        if not folder.exists():
            _fetch(release, folder, bucket)
        _try(folder)
    except (CloudError, OSError, tarfile.TarError, EOFError, subprocess.SubprocessError) as error:
        raise ReleaseError(f"release {release.sha256[:12]}: {error}") from error
    return folder


def _fetch(release: Release, folder: Path, bucket: Bucket) -> None:
    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        archive = partial / "archive"
        with archive.open("w+b") as file:
            bucket.download(release.key, file, limit=MAX_ARCHIVE, bucket=release.bucket)
            file.seek(0)
            digest = hashlib.sha256()
            for block in iter(lambda: file.read(BLOCK), b""):
                digest.update(block)
            if digest.hexdigest() != release.sha256:
                raise ReleaseError(f"release {release.sha256[:12]}: its checksum differs")
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:gz") as packed:
                for member in packed:
                    _unpack(packed, member, partial)
        archive.unlink()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unpack(packed: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Plain files only. The archive is checked, yet it is unpacked as root."""
    path = Path(member.name)
    if path.is_absolute() or ".." in path.parts or not (member.isreg() or member.isdir()):
        raise ReleaseError(f"{member.name} has no business in a release")
    if member.isdir():
        return
    source = packed.extractfile(member)
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        if source is not None:
            shutil.copyfileobj(source, file)
    target.chmod(0o755 if member.mode & 0o100 else 0o644)


def _try(folder: Path) -> None:
    """Does it start at all here, on this Python?"""
    subprocess.run([str(folder / "install"), "--check"], check=True, timeout=CHECK_SECONDS, capture_output=True)


def become(folder: Path) -> NoReturn:
    """Replace this process by the other release, under the same process id."""
    log.info("becoming release %s", folder.name)
    logging.shutdown()
    os.execv(str(folder / "install"), [str(folder / "install"), "--replace"])  # noqa: S606 (no shell is wanted)


def remove_others(releases: Path, version: str) -> None:
    """Releases that do not run take room for nothing."""
    for folder in releases.glob("*"):
        if SHA256.fullmatch(folder.name) and folder.name != version:
            shutil.rmtree(folder, ignore_errors=True)
