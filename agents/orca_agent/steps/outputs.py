"""What a step leaves in its output folder goes to the bucket.

The folder is the step's own, and the agent reads it as root: it goes from folder to folder by descriptors
and opens no symbolic link, no special file, and nothing that another user owns.
"""

from __future__ import annotations

import mimetypes
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Callable, Final, Iterator, List, Set, Tuple

from agents.orca_agent.account import Account
from agents.orca_agent.cloud.bucket import Bucket
from agents.orca_agent.events import MAX_OUTPUTS, Output

AT_ONCE: Final = 4
DEEPEST: Final = 50
MAX_KEY: Final = 1_024  # bytes, of S3
LISTED_BYTES: Final = 60_000
MB: Final = 1024 * 1024

_types = mimetypes.MimeTypes()
for _suffix, _type in {
    ".csv": "text/csv",
    ".geojson": "application/geo+json",
    ".json": "application/json",
    ".log": "text/plain",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".svg": "image/svg+xml",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}.items():
    _types.add_type(_type, _suffix)


@dataclass(frozen=True)
class Found:
    """An open file below the output folder."""

    path: str
    descriptor: int
    size: int


@dataclass
class Uploaded:
    """``outputs`` are those to be listed, ``listed_all``: that is every file that was stored.

    ``over_limit`` counts files for which there was no room, ``skipped`` those that may not be stored at all.
    """

    outputs: Tuple[Output, ...] = ()
    listed_all: bool = True
    over_limit: int = 0
    skipped: int = 0
    files: int = 0
    bytes: int = 0


def content_type(path: str) -> str:
    kind, encoding = _types.guess_type(path)
    return kind if kind and not encoding else Output.content_type


def find(folder: Path, account: Account, skip: Callable[[str], object]) -> Iterator[Found]:
    """The regular files in a folder, in order of their names; ``skip`` is told of what is left out.

    The receiver closes each descriptor.
    """
    try:
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    yield from _find(top, "", 0, account, skip)


def _find(parent: int, prefix: str, depth: int, account: Account, skip: Callable[[str], object]) -> Iterator[Found]:
    try:
        for name in sorted(os.listdir(parent)):
            path = prefix + _clean(name)
            try:
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
            except OSError:
                skip(path)
                continue
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode) and depth < DEEPEST:
                yield from _find(descriptor, path + "/", depth + 1, account, skip)
            elif stat.S_ISREG(status.st_mode) and account.owns(status):
                yield Found(path, descriptor, status.st_size)
            else:
                os.close(descriptor)
                skip(path)
    finally:
        os.close(parent)


def _differing(files: Iterator[Found]) -> Iterator[Found]:
    """The same files, numbered where cleaning has made one name of several."""
    taken: Set[str] = set()
    for found in files:
        path, number = found.path, 1
        while path in taken:
            number += 1
            path = str(PurePosixPath(found.path).with_name(f"{number}-{PurePosixPath(found.path).name}"))
        taken.add(path)
        yield replace(found, path=path)


def _clean(name: str) -> str:
    """A file's name as a key can carry it, and a listing in XML."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def upload(
    folder: Path,
    prefix: str,
    bucket: Bucket,
    account: Account,
    *,
    limit_mb: int,
    say: Callable[[str], object],
    count: Callable[[int], object] = lambda size: None,
) -> Uploaded:
    """Store the files of ``folder`` under ``prefix``, up to ``limit_mb`` together; what fits is stored.

    ``count`` is told how much has gone, whatever happens then. Raises `CloudError`.
    """
    done = Uploaded()
    stored: List[Output] = []

    def skip(path: str) -> None:
        done.skipped += 1
        if done.skipped <= 10:
            say(f"Not stored: {path} is not a plain file of this step, or its name is too long.")

    def send(found: Found) -> None:
        try:
            bucket.upload(prefix + found.path, found.descriptor, found.size, content_type(found.path))
            count(found.size)
        finally:
            os.close(found.descriptor)

    with ThreadPoolExecutor(AT_ONCE, "upload") as pool:
        waiting = []
        for found in _differing(find(folder, account, skip)):
            if len((prefix + found.path).encode()) > MAX_KEY:
                os.close(found.descriptor)
                skip(found.path)
                continue
            if done.bytes + found.size > limit_mb * MB:
                os.close(found.descriptor)
                done.over_limit += 1
                continue
            done.bytes += found.size
            done.files += 1
            stored.append(Output(found.path, found.size, content_type(found.path)))
            waiting.append(pool.submit(send, found))
            while len(waiting) >= 2 * AT_ONCE:
                waiting.pop(0).result()
        for future in waiting:
            future.result()
    done.outputs = _listed(stored)
    done.listed_all = len(done.outputs) == len(stored)
    return done


def _listed(stored: List[Output]) -> Tuple[Output, ...]:
    """As many as an event has room for."""
    room = LISTED_BYTES
    for index, output in enumerate(stored):
        room -= 2 * len(output.path.encode()) + len(output.content_type) + 60
        if room < 0 or index >= MAX_OUTPUTS:
            return tuple(stored[:index])
    return tuple(stored)
