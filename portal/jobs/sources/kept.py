"""Documents of catalogues that were read before, kept in a file that never grows beyond a bound.

For some minutes a document is taken as it is; later its catalogue is asked whether it has changed. Losing the file
loses nothing but time, so that whatever goes wrong with it is passed over.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FRESH_SECONDS: Final = 600.0
_TOGETHER: Final = 500
_BROKEN = (sqlite3.Error, OSError, zlib.error)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents
    (asked TEXT PRIMARY KEY, url TEXT NOT NULL, etag TEXT NOT NULL, body BLOB NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS documents_at ON documents (at);
"""


@dataclass(frozen=True)
class Old:
    """A document as it was: the address that gave it, its tag, and whether it may be taken without asking."""

    url: str
    etag: str
    body: bytes
    fresh: bool


class Kept:
    """Documents by the address that was asked for; safe for several threads and processes."""

    def __init__(self, path: Path, *, most_bytes: int, fresh_seconds: float = FRESH_SECONDS) -> None:
        self._path = path
        self._most = most_bytes
        self._fresh = fresh_seconds
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._process = 0
        self._waiting: dict[str, tuple[str, str, str, bytes, float]] = {}

    def get(self, asked: str) -> Old | None:
        """What is kept of an address."""
        with suppress(*_BROKEN), self._lock:
            found = self._database().execute("SELECT url, etag, body, at FROM documents WHERE asked = ?", (asked,))
            if row := found.fetchone():
                fresh = 0 <= time.time() - row[3] < self._fresh
                return Old(row[0], row[1], zlib.decompress(row[2]), fresh) if fresh or row[1] else None
        return None

    def put(self, asked: str, url: str, etag: str, body: bytes) -> None:
        """Keep a document, soon."""
        if len(body) > self._most // 8:
            return
        self._waiting[asked] = (asked, url, etag, zlib.compress(body, 1), time.time())
        if len(self._waiting) >= _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Write what waits, and drop the oldest where there is too much."""
        rows, self._waiting = list(self._waiting.values()), {}
        if not rows:
            return
        with suppress(*_BROKEN), self._lock, self._database() as database:
            database.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?)", rows)
            if self._size(database) > self._most:
                database.execute(
                    "DELETE FROM documents WHERE asked IN (SELECT asked FROM documents ORDER BY at LIMIT "
                    "(SELECT count(*) / 4 + 1 FROM documents))"
                )

    def _size(self, database: sqlite3.Connection) -> int:
        pages, free, size = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _database(self) -> sqlite3.Connection:
        if self._connection is None or self._process != os.getpid():
            # A connection must not be used by the child of a fork.
            self._process = os.getpid()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            made = sqlite3.connect(self._path, timeout=2, check_same_thread=False)
            made.execute("PRAGMA journal_mode = WAL")
            made.execute("PRAGMA synchronous = OFF")
            made.executescript(_SCHEMA)
            self._connection = made
        return self._connection

    def close(self) -> None:
        """Let go of the file."""
        self.flush()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
