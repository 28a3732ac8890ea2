"""What a person uploads becomes a bundle: a zip with sorted names and no times, so that equal files hash the same."""

from __future__ import annotations

import hashlib
import lzma
import re
import stat
import struct
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import IO, Any, Protocol

from portal.core.errors import Invalid

MOST_FILES = 2_000
MOST_ENTRIES = 50_000
MOST_RATIO = 200
SHOWN_BYTES = 256 * 1024
_CHUNK = 1024 * 1024
_ENCRYPTED = 0x1
_EPOCH = (1980, 1, 1, 0, 0, 0)
# What Python's zipfile and its unpackers raise for what they cannot read.
_UNREADABLE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
_STARTERS = {".py": "python", ".sh": "shell"}
_USUAL = ("main.py", "main.sh", "run.py", "run.sh", "app.py", "__main__.py")
_ENTRY = b"PK\x01\x02"
_UNSEEN = re.compile(r"[\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_JUNK = re.compile(
    r"(^|/)(__MACOSX|\.git|__pycache__|\.ipynb_checkpoints|\.venv|node_modules)(/|$)"
    r"|(^|/)(\.DS_Store|Thumbs\.db|desktop\.ini|\._[^/]*)$"
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
                _keep(single, packed)
                with _opened(packed) as archive:
                    entries, top = _without_top_folders(_zip_entries(archive, most_bytes))
                    files = _write(target, entries, most_bytes)
        else:
            named = [(upload.name or "", upload) for upload in uploads]
            entries = [_Entry(_path(name), upload.chunks) for name, upload in named if not _JUNK.search(name)]
            top = ""
            files = _write(target, entries, most_bytes)
        paths = [file["path"] for file in files]
        start, runtime = _entrypoint(paths, _wanted(entrypoint, top))
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


def _short(name: str) -> str:
    """A name as a message can quote it."""
    seen = "".join(c if c.isprintable() else "\ufffd" for c in name)
    return seen if len(seen) <= 80 else seen[:77] + "…"


def _path(name: str) -> str:
    """A safe relative path, or ``Invalid``."""
    normal = unicodedata.normalize("NFC", name.replace("\\", "/"))
    parts = PurePosixPath(normal).parts
    shown = _short(normal)
    if not parts or normal.startswith("/") or re.match(r"^[A-Za-z]:", normal) or ".." in parts:
        raise Invalid(
            f"The file name “{shown}” points outside the upload.",
            code="bad_file_name",
            hint="Use relative names without “..”.",
            fields={"files": shown},
        )
    if len(normal.encode("utf-8", "replace")) > 200:
        raise Invalid(
            f"The file name “{shown}” is too long.",
            code="bad_file_name",
            hint="Use at most 200 bytes for a name with its folders.",
            fields={"files": shown},
        )
    if _UNSEEN.search(normal) or any(unicodedata.category(c) in {"Cc", "Cs"} for c in normal):
        raise Invalid(
            f"The file name “{shown}” has characters that cannot be seen, such as a line end.",
            code="bad_file_name",
            hint="Rename the file.",
            fields={"files": shown},
        )
    return str(PurePosixPath(*parts))


def _keep(upload: Upload, packed: IO[bytes]) -> None:
    """Write an uploaded zip to a file.

    Reading a zip's directory takes memory for each entry, before anything of it can be looked at; so what marks them
    is counted first.
    """
    entries, rest = 0, b""
    for chunk in upload.chunks():
        packed.write(chunk)
        entries += (rest + chunk).count(_ENTRY)
        rest = (rest + chunk)[1 - len(_ENTRY) :]
    if entries > MOST_ENTRIES:
        raise _too_many(entries)


def _too_many(count: int) -> Invalid:
    return Invalid(
        f"These are {count:,} files; at most {MOST_FILES:,} can be uploaded.",
        code="too_many_files",
        hint="Leave out what the script does not need, or put data into the workspace's bucket.",
        fields={"files": f"at most {MOST_FILES:,}"},
    )


@contextmanager
def _opened(packed: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """The zip. Whatever is wrong with it becomes ``Invalid``, also while it is read."""
    try:
        packed.seek(0)
        with zipfile.ZipFile(packed) as archive:
            yield archive
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's fault, not the zip's
            raise
        raise Invalid(
            "This zip file cannot be read: it is damaged, encrypted or packed in an unusual way.",
            code="bad_zip",
            hint="Pack it again, or upload the files one by one.",
            fields={"files": str(error)[:200] or "cannot be read"},
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
        if entry.flag_bits & _ENCRYPTED:
            raise Invalid(
                "This zip file is encrypted.",
                code="encrypted_zip",
                hint="Pack it again without a password.",
                fields={"files": path},
            )
        entries.append(_Entry(path, partial(_unpacked, archive, entry)))
    if total > most_bytes:
        raise _too_large(most_bytes)
    if packed and total > 10_000_000 and total / packed > MOST_RATIO:
        raise Invalid(
            "This zip file unpacks to far more than it holds.",
            code="zip_bomb",
            hint="Upload the files themselves, or put data into the workspace's bucket.",
            fields={"files": f"{packed:,} bytes become {total:,}"},
        )
    return entries


def _without_top_folders(entries: list[_Entry]) -> tuple[list[_Entry], str]:
    """A zip of a folder has that folder in every name; people mean what is in it. Also how the names began."""
    top = ""
    while entries and all("/" in entry.path for entry in entries):
        firsts = {entry.path.split("/", 1)[0] for entry in entries}
        if len(firsts) != 1:
            break
        top += f"{firsts.pop()}/"
        entries = [_Entry(entry.path.split("/", 1)[1], entry.chunks) for entry in entries]
    return entries, top


def _write(target: IO[bytes], entries: list[_Entry], most_bytes: int) -> list[dict[str, Any]]:
    if not entries:
        raise Invalid(
            "There is no file in this upload.",
            code="no_files",
            hint="Add a Python (.py) or shell (.sh) file.",
            fields={"files": "empty"},
        )
    if len(entries) > MOST_FILES:
        raise _too_many(len(entries))
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
            raise Invalid(
                f"“{path}” is there twice.",
                code="duplicate_file",
                hint="Two files cannot have one name, and a file not that of a folder.",
                fields={"files": path},
            )
        taken.add(path)


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(entry) as source:
        while chunk := source.read(_CHUNK):
            yield chunk


def _wanted(entrypoint: str, top: str) -> str:
    """The file to start as the bundle calls it: without the folder of the zip, and however it was typed."""
    typed = unicodedata.normalize("NFC", entrypoint.strip().replace("\\", "/")).removeprefix("./")
    return typed.removeprefix(top)


def _entrypoint(paths: list[str], wanted: str) -> tuple[str, str]:
    """The file to start and what runs it: the one that is wanted, else the usual one, else the only one."""
    startable = [path for path in paths if PurePosixPath(path).suffix.lower() in _STARTERS]
    if not startable:
        raise Invalid(
            "There is nothing in this upload that Orca can start.",
            code="no_entrypoint",
            hint="Add a Python (.py) or shell (.sh) file. Of archives Orca unpacks .zip.",
            fields={"entrypoint": "nothing to start"},
        )
    choice = ", ".join(startable[:20])
    if wanted and wanted not in startable:
        there = wanted in paths
        raise Invalid(
            "Orca starts Python (.py) and shell (.sh) files." if there else f"There is no “{_short(wanted)}” to start.",
            code="no_entrypoint",
            hint=f"These can be started: {choice}.",
            fields={"entrypoint": "must end in .py or .sh" if there else "not among the files"},
        )
    at_top = [path for path in startable if "/" not in path]
    usual = [path for path in _USUAL if path in at_top]
    only = [some[0] for some in (at_top, startable) if len(some) == 1]
    candidates = [wanted] if wanted else usual + only
    if not candidates:
        raise Invalid(
            "Orca cannot tell which file to start.",
            code="no_entrypoint",
            hint="Name the file to start, or call it main.py or main.sh.",
            fields={"entrypoint": f"choose one of: {choice}"},
        )
    return candidates[0], _STARTERS[PurePosixPath(candidates[0]).suffix.lower()]


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
