"""The index of a job's outputs, written while they are copied: as JSON for programs, as CSV for tables.

``index.json`` is ``{"job", "name", "shards", "items": {id: [path]}, "files": [{"path", "shard", "items", "size",
"etag", "source"}]}``; ``index.csv`` has a line for each file and item.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any

from portal.clouds.services import account_handle
from portal.gateways import aws_bulk
from portal.jobs.models import Job

COLUMNS = ("path", "shard", "item", "items", "size", "etag")


@dataclass(frozen=True)
class Entry:
    """A file below the job's outputs; ``source`` is its name among the outputs of its shard."""

    path: str
    shard: int
    size: int
    etag: str
    source: str


class Index:
    """Grows on disk, not in memory."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.files = 0
        self.bytes = 0
        self._of_items: dict[str, list[str]] = {}
        self._entries = _temporary()
        self._items = _temporary()
        self._table = _temporary()
        self._text = io.TextIOWrapper(self._table, encoding="utf-8", newline="", write_through=True)
        self._rows = csv.writer(self._text)
        self._rows.writerow(COLUMNS)

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._entries, self._items, self._table):
            file.close()

    def add(self, entry: Entry, items: Sequence[str]) -> None:
        """One more file. Of a shard's items as a whole only their number stands in the table."""
        self.files += 1
        self.bytes += entry.size
        self._entries.write(json.dumps({**asdict(entry), "items": list(items)}).encode() + b"\n")
        one = items[0] if len(items) == 1 else ""
        self._rows.writerow([entry.path, entry.shard, one, len(items), entry.size, entry.etag])
        for item in items:
            self._of_items.setdefault(item, []).append(entry.path)

    def shard_done(self, ids: Sequence[str]) -> None:
        """All files of a shard are in; so are all of its items, those that gave nothing too."""
        for item in ids:
            self._items.write(json.dumps([item, self._of_items.get(item, [])]).encode() + b"\n")
        self._of_items.clear()

    def entries(self) -> Iterator[dict[str, Any]]:
        """What was added, in order."""
        self._entries.seek(0)
        for line in self._entries:
            yield json.loads(line)

    def keep(self) -> None:
        """Write the index beside the outputs."""
        job = self._job
        account, bucket = account_handle(job.workspace.cloud_account), job.workspace.bucket
        self._text.detach()
        self._table.seek(0)
        aws_bulk.put_file(account, bucket, job.key("index.csv"), self._table, "text/csv")
        with tempfile.TemporaryFile(prefix="orca-index-") as whole:
            for part in self._parts():
                whole.write(part)
            whole.seek(0)
            aws_bulk.put_file(account, bucket, job.key("index.json"), whole, "application/json")

    def _parts(self) -> Iterator[bytes]:
        head = {"job": self._job.pk, "name": self._job.name, "shards": self._job.shards}
        yield json.dumps(head).encode()[:-1] + b', "items": {'
        self._items.seek(0)
        for number, line in enumerate(self._items):
            item, paths = json.loads(line)
            yield (b",\n" if number else b"\n") + f"{json.dumps(item)}: {json.dumps(paths)}".encode()
        yield b'\n}, "files": ['
        self._entries.seek(0)
        for number, line in enumerate(self._entries):
            yield (b",\n" if number else b"\n") + line.rstrip(b"\n")
        yield b"\n]}\n"


def _temporary() -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="orca-index-")
