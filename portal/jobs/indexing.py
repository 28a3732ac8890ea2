"""The index of a job's outputs, written while they are copied: as JSON for programs, as CSV for tables.

``index.json`` is ``{"job", "name", "shards", "items": {item: [path]}, "files": [{"path", "shard", "items", "size",
"etag", "source"}]}``; ``index.csv`` has a line for each file. An item is called by its id, in both of them. Only where
several of the job's items have the same id, each in a collection of its own, it is ``collection/id``.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any

from portal.clouds.services import account_handle
from portal.gateways import aws_bulk
from portal.jobs.attribution import Name
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
        self._of_items: dict[Name, list[str]] = {}
        self._entries = _temporary()
        self._items = _temporary()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._entries, self._items):
            file.close()

    def add(self, entry: Entry, items: Sequence[Name]) -> None:
        """One more file."""
        self.files += 1
        self.bytes += entry.size
        self._entries.write(json.dumps({**asdict(entry), "items": items}).encode() + b"\n")
        for item in items:
            self._of_items.setdefault(item, []).append(entry.path)

    def shard_done(self, items: Sequence[Name]) -> None:
        """All files of a shard are in; so are all of its items, those that gave nothing too."""
        for item in items:
            self._items.write(json.dumps([item, self._of_items.get(item, [])]).encode() + b"\n")
        self._of_items.clear()

    def entries(self) -> Iterator[dict[str, Any]]:
        """What was added, in order; an item is its collection and its id."""
        self._entries.seek(0)
        for line in self._entries:
            yield json.loads(line)

    def keep(self) -> None:
        """Write the index beside the outputs."""
        keys = self._keys()
        self._put("index.csv", self._table(keys), "text/csv")
        self._put("index.json", self._document(keys), "application/json")

    def _put(self, name: str, parts: Iterator[bytes], content_type: str) -> None:
        job = self._job
        account, bucket = account_handle(job.workspace.cloud_account), job.workspace.bucket
        with _temporary() as whole:
            whole.writelines(parts)
            whole.seek(0)
            aws_bulk.put_file(account, bucket, job.key(name), whole, content_type)

    def _each_item(self) -> Iterator[tuple[Name, list[str]]]:
        self._items.seek(0)
        for line in self._items:
            (collection, name), paths = json.loads(line)
            yield (collection, name), paths

    def _keys(self) -> Mapping[Name, str]:
        """What those items are called that are not alone with their id; no two are called the same."""
        seen: set[str] = set()
        twice: set[str] = set()
        for (_, name), _paths in self._each_item():
            (twice if name in seen else seen).add(name)
        keys: dict[Name, str] = {}
        for item, _paths in self._each_item() if twice else ():
            collection, name = item
            if name in twice and collection is not None:
                keys[item] = _free(f"{collection}/{name}", seen)
        return keys

    def _table(self, keys: Mapping[Name, str]) -> Iterator[bytes]:
        """A line for each file. Of a shard's items as a whole only their number stands in it."""
        yield _row(COLUMNS)
        for entry in self.entries():
            items = _called(entry["items"], keys)
            one = items[0] if len(items) == 1 else ""
            yield _row((entry["path"], entry["shard"], one, len(items), entry["size"], entry["etag"]))

    def _document(self, keys: Mapping[Name, str]) -> Iterator[bytes]:
        head = {"job": self._job.pk, "name": self._job.name, "shards": self._job.shards}
        yield json.dumps(head).encode()[:-1] + b', "items": {'
        for number, (item, paths) in enumerate(self._each_item()):
            key = keys.get(item, item[1])
            yield (b",\n" if number else b"\n") + f"{json.dumps(key)}: {json.dumps(paths)}".encode()
        yield b'\n}, "files": ['
        for number, entry in enumerate(self.entries()):
            told = {**entry, "items": _called(entry["items"], keys)}
            yield (b",\n" if number else b"\n") + json.dumps(told).encode()
        yield b"\n]}\n"


def _called(items: Sequence[Sequence[Any]], keys: Mapping[Name, str]) -> list[str]:
    return [keys.get((collection, name), name) for collection, name in items]


def _free(key: str, taken: set[str]) -> str:
    """The key, numbered where an item's id, or another key, is the same; it is taken then."""
    found, number = key, 1
    while found in taken:
        number += 1
        found = f"{key}-{number}"
    taken.add(found)
    return found


def _row(values: Sequence[Any]) -> bytes:
    line = io.StringIO(newline="")
    csv.writer(line).writerow(values)
    return line.getvalue().encode()


def _temporary() -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="orca-index-")
