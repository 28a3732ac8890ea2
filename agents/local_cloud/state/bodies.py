"""The bodies of S3 objects: small ones in memory (and in the log), large ones as files of their own.

A body takes the place of the temporary file that moto keeps for each object. A file is deleted only when the state
that no longer needs it has been written down.
"""

from __future__ import annotations

import io
import threading
import uuid
from pathlib import Path
from types import SimpleNamespace

import moto.s3.models

from agents.local_cloud.patching import replace

SMALL_BYTES = 16 * 1024


class BodyFolder:
    """``DATA/objects``: one file for each large body, with how many bodies refer to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._references: dict[str, int] = {}
        self._dead: set[str] = set()
        self._closed = False

    def install(self) -> None:
        """Have moto keep its objects here."""
        Body.home = self
        replace(moto.s3.models, "tempfile", SimpleNamespace(SpooledTemporaryFile=lambda *_, **__: Body()))

    def path(self, name: str) -> Path:
        """The file of a body."""
        return self._folder / name[:2] / name

    def store(self, data: bytes) -> str:
        """Write a new file; its name."""
        name = uuid.uuid4().hex
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.hold(name)
        return name

    def hold(self, name: str) -> None:
        """One more body refers to the file."""
        with self._lock:
            self._references[name] = self._references.get(name, 0) + 1
            self._dead.discard(name)

    def release(self, name: str) -> None:
        """One body less does."""
        with self._lock:
            left = self._references.get(name, 0) - 1
            if left > 0:
                self._references[name] = left
            else:
                self._references.pop(name, None)
                self._dead.add(name)

    def sweep(self) -> None:
        """Delete the files that nothing refers to: to be called when the state has been written down."""
        with self._lock:
            dead, self._dead = self._dead, set()
            if self._closed:
                return
        for name in dead:
            self.path(name).unlink(missing_ok=True)

    def sweep_all(self) -> None:
        """Delete every file that no body refers to, after a start: a crash may have left some."""
        with self._lock:
            for path in self._folder.glob("*/*"):
                if path.name not in self._references:
                    path.unlink(missing_ok=True)

    def close(self) -> None:
        """From now on nothing is deleted: the interpreter takes everything apart as it ends."""
        self._closed = True


class Body:
    """What moto does with a temporary file, done with memory or a file that persists."""

    home: BodyFolder

    def __init__(self) -> None:
        self._data: bytes | None = b""
        self._name = ""
        self._position = 0

    def seek(self, position: int) -> int:
        """Go to a byte."""
        self._position = position
        return position

    def read(self, size: int = -1) -> bytes:
        """From here, ``size`` bytes or all."""
        if self._data is not None:
            source: io.BufferedIOBase | io.BufferedReader = io.BytesIO(self._data)
        else:
            source = self.home.path(self._name).open("rb")
        with source:
            source.seek(self._position)
            data = source.read(size)
        self._position += len(data)
        return data

    def truncate(self) -> int:
        """Make it empty (moto does this before each write)."""
        self.close()
        self._data = b""
        return 0

    def write(self, data: bytes) -> int:
        """Add to the end."""
        whole = data if self._data == b"" else self._all() + data
        self.close()
        if len(whole) <= SMALL_BYTES:
            self._data = bytes(whole)
        else:
            self._name = self.home.store(whole)
            self._data = None
        self._position = len(whole)
        return len(data)

    def close(self) -> None:
        """The object has gone, or has another body now."""
        if self._name:
            self.home.release(self._name)
            self._name = ""
        self._data = b""

    def _all(self) -> bytes:
        self._position = 0
        return self.read()

    def __getstate__(self) -> tuple[bytes | None, str]:
        return self._data, self._name

    def __setstate__(self, state: tuple[bytes | None, str]) -> None:
        self._data, self._name = state
        self._position = 0
        if self._name:
            self.home.hold(self._name)
