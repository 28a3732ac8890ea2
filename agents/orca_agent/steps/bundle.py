"""A script's bundle: fetched once, checked, and unpacked for each step without trusting what is in it."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Callable, Final, Set

from agents.orca_agent.cloud.bucket import Bucket
from agents.orca_agent.cloud.errors import Missing
from agents.orca_agent.events import Reason
from agents.orca_agent.orders import Script
from agents.orca_agent.steps.failure import StepFailed

MAX_BUNDLE: Final = 256 * 1024 * 1024
MAX_UNPACKED: Final = 2 * 1024 * 1024 * 1024
MAX_FILES: Final = 20_000
MAX_CACHED: Final = 1024 * 1024 * 1024
BLOCK: Final = 256 * 1024
UTF8_BOM: Final = b"\xef\xbb\xbf"


class BundleStore:
    """Bundles on this instance's disk, by their sha256; the least used go first when they take too much room."""

    def __init__(self, folder: Path, bucket: Bucket) -> None:
        self._folder = folder
        self._bucket = bucket
        self._lock = threading.Lock()

    def fetch(self, script: Script, count: Callable[[int], object] = lambda size: None) -> Path:
        """The bundle as a file; ``count`` is told how much had to come for it. Raises `StepFailed` or `CloudError`."""
        path = self._folder / f"{script.sha256}.zip"
        with self._lock:
            if path.exists():
                os.utime(path)
                return path
            partial = path.with_suffix(".part")
            try:
                with partial.open("w+b") as file:
                    self._bucket.download(script.key, file, limit=MAX_BUNDLE)
                    file.seek(0)
                    found = _sha256(file)
                    count(file.tell())
            except Missing as error:
                raise StepFailed(Reason.BUNDLE_INVALID, "The script's bundle is not in the bucket.") from error
            if found != script.sha256:
                partial.unlink()
                message = "The script's bundle is not the one that was asked for (its checksum differs)."
                raise StepFailed(Reason.BUNDLE_INVALID, message)
            partial.rename(path)
            self._make_room()
            return path

    def _make_room(self) -> None:
        bundles = sorted(self._folder.glob("*.zip"), key=lambda path: path.stat().st_mtime, reverse=True)
        total = 0
        for path in bundles:
            total += path.stat().st_size
            if total > MAX_CACHED and path != bundles[0]:
                path.unlink()


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while True:
        block = file.read(BLOCK)
        if not block:
            return digest.hexdigest()
        digest.update(block)


def unpack(bundle: Path, folder: Path) -> None:
    """Unpack into an empty folder that nobody else can reach yet. Raises `StepFailed`.

    Refused are names that lead out of the folder, symbolic links and other special files, names that differ
    from another file's only by being its folder, and more bytes or files than a script should have.
    """
    try:
        with zipfile.ZipFile(bundle) as archive:
            _unpack(archive, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise StepFailed(Reason.BUNDLE_INVALID, f"The bundle cannot be unpacked: {error}.") from error
    except OSError as error:
        message = f"The bundle cannot be unpacked: {error.strerror}."
        raise StepFailed(Reason.BUNDLE_INVALID, message) from error


def _unpack(archive: zipfile.ZipFile, folder: Path) -> None:
    entries = archive.infolist()
    if len(entries) > MAX_FILES:
        raise ValueError(f"it holds more than {MAX_FILES} files")
    left = MAX_UNPACKED
    for entry in entries:
        target = folder / safe_name(entry)
        if entry.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o755 if entry.external_attr >> 16 & stat.S_IXUSR else 0o644
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file, archive.open(entry) as source:
            while True:
                block = source.read(BLOCK)
                if not block:
                    break
                left -= len(block)
                if left < 0:
                    raise ValueError(f"it unpacks to more than {MAX_UNPACKED >> 20} MB")
                file.write(block)


def safe_name(entry: zipfile.ZipInfo) -> PurePosixPath:
    """The entry's path inside the bundle. Raises ``ValueError`` for one that has no business there."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ValueError(f"{entry.filename!r} is a link or a special file")
    if entry.flag_bits & 0x1:
        raise ValueError(f"{entry.filename!r} is encrypted")
    name = entry.filename.replace("\\", "/")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0] or "\0" in name:
        raise ValueError(f"{entry.filename!r} leads out of the bundle")
    return path


def with_unix_lines(path: Path) -> None:
    """Rewrite a shell script that was saved on Windows so that a shell can read it."""
    content = path.read_bytes()
    plain = content[len(UTF8_BOM) :] if content.startswith(UTF8_BOM) else content
    plain = plain.replace(b"\r\n", b"\n")
    if plain != content:
        path.write_bytes(plain)


def top_level_names(folder: Path) -> Set[str]:
    """The names under which files and folders of a bundle could be imported."""
    return {path.name.partition(".")[0] for path in folder.iterdir()}
