"""An append-only file of records that survives ``kill -9`` at any moment.

A record is written with one system call; the page cache outlives the process. A record that was cut short (a full
disk, a power failure) ends the file when it is read again: everything before it counts.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

_HEAD = struct.Struct("<II")


class RecordLog:
    """Records (bytes) in the order in which they were appended. Not thread-safe: its owner has a lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self.size = 0

    def read(self) -> Iterator[bytes]:
        """Every whole record; what follows the last whole one is cut off."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        position = 0
        while position + _HEAD.size <= len(content):
            length, checksum = _HEAD.unpack_from(content, position)
            record = content[position + _HEAD.size : position + _HEAD.size + length]
            if len(record) < length or zlib.crc32(record) != checksum:
                break
            position += _HEAD.size + length
            yield record
        if position < len(content):
            os.truncate(self._path, position)
        self.size = position

    def append(self, record: bytes) -> None:
        """Add one record; it is safe from a crash of this process when this returns."""
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
            self.size = os.fstat(self._descriptor).st_size
        framed = _framed(record)
        written = os.write(self._descriptor, framed)
        if written < len(framed):
            # Half a record in the middle would hide all that come after it.
            os.ftruncate(self._descriptor, self.size)
            raise OSError(f"{self._path} could not be written whole: is the disk full?")
        self.size += written

    def rewrite(self, records: Iterable[bytes]) -> None:
        """Put these records in the place of all that are there, in one step."""
        draft = self._path.with_name(self._path.name + ".new")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content = b"".join(map(_framed, records))
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        draft.replace(self._path)
        self.close()
        self.size = len(content)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def delete(self) -> None:
        """Remove the file: what it recorded is gone."""
        self.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self.size = 0


def _framed(record: bytes) -> bytes:
    return _HEAD.pack(len(record), zlib.crc32(record)) + record
