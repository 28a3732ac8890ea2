"""What a person uploads becomes a bundle: a zip with sorted names and no times, so that equal files hash the same."""

from __future__ import annotations

import hashlib
import re
import stat
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import IO, Any, Protocol

from portal.core.errors import Invalid

MOST_FILES = 2_000
MOST_RATIO = 200
SHOWN_BYTES = 256 * 1024
_CHUNK = 1024 * 1024
_EPOCH = (1980, 1, 1, 0, 0, 0)
_STARTERS = {".py": "python", ".sh": "shell"}
_USUAL = ("main.py", "main.sh", "run.py", "run.sh", "app.py", "__main__.py")
_JUNK = re.compile(
    r"(^|/)(__MACOSX|\.git|__pycache__|\.ipynb_checkpoints|\.venv|node_modules)(/|$)|(^|/)(\.DS_Store|Thumbs\.db)$"
)


class Upload(Protocol):
    """A file as Django hands it over."""

    @property
    def name(self) -> str | None: ...

    @property
    def size(self) -> int | None: ...

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]: ...


class PathUpload:
    """An upload that knows its folder: Django itself keeps only the last part of a file's name."""

    def __init__(self, upload: Upload, path: str) -> None:
        self.name: str | None = path
        self.size: int | None = upload.size
        self._upload = upload

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """The contents, piece by piece."""
        return self._upload.chunks(chunk_size)


@dataclass(frozen=True)
class Bundle:
    """A bundle that is ready to be kept. ``size`` counts the bytes of its files; ``content`` is the zip."""

    sha256: str
    size: int
    files: list[dict[str, Any]]
    entrypoint: str
    runtime: str
    requirements: str
    content: IO[bytes]


@dataclass(frozen=True)
class _Entry:
    path: str
    chunks: Callable[[], Iterator[bytes]]


@contextmanager
def bundled(uploads: Sequence[Upload], *, entrypoint: str = "", most_bytes: int) -> Iterator[Bundle]:
    """Check uploaded files (or one zip) and make a bundle of them, gone again when the block ends.

    Raises ``Invalid`` with what is wrong with which file: nothing uploaded, too large, too many, a bad name, a link,
    a damaged zip or one that unpacks to far more than it holds, or no way to tell what to start.
    """
    if not uploads:
        raise Invalid("Choose at least one file.", code="no_files", fields={"files": "missing"})
    if sum(upload.size or 0 for upload in uploads) > most_bytes:
        raise _too_large(most_bytes)
    single = uploads[0] if len(uploads) == 1 else None
    with tempfile.TemporaryFile() as target:
        if single is not None and (single.name or "").lower().endswith(".zip"):
            with tempfile.TemporaryFile() as packed:
                for chunk in single.chunks():
                    packed.write(chunk)
                with _opened(packed) as archive:
                    entries = _zip_entries(archive, most_bytes)
                    files = _write(target, entries, most_bytes)
        else:
            entries = [_Entry(_path(upload.name or ""), upload.chunks) for upload in uploads]
            files = _write(target, entries, most_bytes)
        paths = [file["path"] for file in files]
        start, runtime = _entrypoint(paths, entrypoint)
        target.seek(0)
        digest = hashlib.file_digest(target, "sha256").hexdigest()
        target.seek(0)
        yield Bundle(
            sha256=digest,
            size=sum(file["size"] for file in files),
            files=files,
            entrypoint=start,
            runtime=runtime,
            requirements="requirements.txt" if "requirements.txt" in paths and runtime == "python" else "",
            content=target,
        )


def _too_large(most_bytes: int) -> Invalid:
    limit = f"{most_bytes // 1_000_000} MB"
    return Invalid(
        f"This is more than {limit}.",
        code="too_large",
        hint="Put data into the workspace's bucket and let the script read it from there.",
        fields={"files": f"at most {limit} together"},
    )


def _path(name: str) -> str:
    """A safe relative path, or ``Invalid``."""
    normal = unicodedata.normalize("NFC", name.replace("\\", "/"))
    parts = PurePosixPath(normal).parts
    shown = normal if len(normal) <= 80 else normal[:77] + "…"
    if not parts or normal.startswith("/") or re.match(r"^[A-Za-z]:", normal) or ".." in parts:
        raise Invalid(
            f"The file name “{shown}” points outside the upload.",
            code="bad_file_name",
            hint="Use relative names without “..”.",
            fields={"files": shown},
        )
    if len(normal.encode()) > 200 or any(unicodedata.category(c) == "Cc" for c in normal):
        raise Invalid(
            f"The file name “{shown}” is too long or has control characters.",
            code="bad_file_name",
            fields={"files": shown},
        )
    return str(PurePosixPath(*parts))


@contextmanager
def _opened(packed: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    try:
        packed.seek(0)
        with zipfile.ZipFile(packed) as archive:
            yield archive
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zipfile.LargeZipFile) as error:
        raise Invalid(
            "This zip file cannot be read: it is damaged, encrypted or packed in an unusual way.",
            code="bad_zip",
            hint="Pack it again, or upload the files one by one.",
            fields={"files": str(error)[:200]},
        ) from error


def _zip_entries(archive: zipfile.ZipFile, most_bytes: int) -> list[_Entry]:
    entries, total, packed = [], 0, 0
    for entry in archive.infolist():
        if entry.is_dir() or _JUNK.search(entry.filename):
            continue
        path = _path(entry.filename)
        mode = entry.external_attr >> 16
        if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
            raise Invalid(
                f"“{path}” is a link or a device, not a file.",
                code="not_a_file",
                hint="Pack the file that the link points to instead.",
                fields={"files": path},
            )
        total, packed = total + entry.file_size, packed + entry.compress_size
        entries.append(_Entry(path, partial(_unpacked, archive, entry)))
    if total > most_bytes:
        raise _too_large(most_bytes)
    if packed and total > 10_000_000 and total / packed > MOST_RATIO:
        raise Invalid("This zip file unpacks to far more than it holds.", code="zip_bomb")
    return _without_top_folder(entries)


def _without_top_folder(entries: list[_Entry]) -> list[_Entry]:
    """A zip of a folder has that folder in every name; people mean what is in it."""
    tops = {entry.path.split("/", 1)[0] for entry in entries}
    if len(tops) != 1 or any("/" not in entry.path for entry in entries):
        return entries
    return [_Entry(entry.path.split("/", 1)[1], entry.chunks) for entry in entries]


def _write(target: IO[bytes], entries: list[_Entry], most_bytes: int) -> list[dict[str, Any]]:
    if not entries:
        raise Invalid("There is no file in this upload.", code="no_files", fields={"files": "empty"})
    if len(entries) > MOST_FILES:
        raise Invalid(f"More than {MOST_FILES} files.", code="too_many_files", fields={"files": str(len(entries))})
    entries = sorted(entries, key=lambda entry: entry.path)
    _names_check([entry.path for entry in entries])
    files, left = [], most_bytes
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as made:
        for entry in entries:
            described = zipfile.ZipInfo(entry.path, _EPOCH)
            described.compress_type = zipfile.ZIP_DEFLATED
            described.external_attr = (stat.S_IFREG | 0o644) << 16
            size = 0
            with made.open(described, "w", force_zip64=True) as out:
                for chunk in entry.chunks():
                    size += len(chunk)
                    if size > left:
                        raise _too_large(most_bytes)
                    out.write(chunk)
            left -= size
            files.append({"path": entry.path, "size": size})
    return files


def _names_check(paths: list[str]) -> None:
    taken: set[str] = set()
    folders = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    for path in paths:
        if path in taken or path in folders:
            raise Invalid(f"“{path}” is there twice.", code="duplicate_file", fields={"files": path})
        taken.add(path)


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(entry) as source:
        while chunk := source.read(_CHUNK):
            yield chunk


def _entrypoint(paths: list[str], wanted: str) -> tuple[str, str]:
    startable = [path for path in paths if PurePosixPath(path).suffix in _STARTERS]
    if wanted:
        if wanted not in paths:
            raise Invalid(
                f"There is no file “{wanted}” to start.",
                code="no_entrypoint",
                fields={"entrypoint": "not among the files"},
            )
        if wanted not in startable:
            raise Invalid(
                "Orca starts Python (.py) and shell (.sh) files.",
                code="no_entrypoint",
                fields={"entrypoint": "must end in .py or .sh"},
            )
        chosen = wanted
    else:
        at_top = [path for path in startable if "/" not in path]
        usual = [path for path in _USUAL if path in at_top]
        candidates = usual[:1] or (at_top if len(at_top) == 1 else startable if len(startable) == 1 else [])
        if not candidates:
            raise Invalid(
                "Orca cannot tell which file to start.",
                code="no_entrypoint",
                hint="Name the file to start, or call it main.py or main.sh."
                if startable
                else "Add a Python (.py) or shell (.sh) file.",
                fields={
                    "entrypoint": "choose one of: " + ", ".join(startable[:20]) if startable else "nothing to start"
                },
            )
        chosen = candidates[0]
    return chosen, _STARTERS[PurePosixPath(chosen).suffix]


def file_shown(content: IO[bytes], path: str) -> str | None:
    """A bundle's text file for reading (its first 256 KiB); nothing where it is not text or not there."""
    with tempfile.TemporaryFile() as local:
        while chunk := content.read(_CHUNK):
            local.write(chunk)
        with zipfile.ZipFile(local) as archive:
            try:
                with archive.open(path) as source:
                    data = source.read(SHOWN_BYTES)
            except KeyError:
                return None
    if b"\0" in data:
        return None
    return data.decode("utf-8", "replace")
