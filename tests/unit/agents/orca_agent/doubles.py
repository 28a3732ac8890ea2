"""A bucket and a queue in memory, and short ways to make what the agent works with."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.orca_agent.cloud.bucket import Links, Listed, Stored
from agents.orca_agent.cloud.client import Client
from agents.orca_agent.cloud.errors import CloudError, Missing
from agents.orca_agent.cloud.queue import Message
from agents.orca_agent.cloud.transport import Target, Transport
from agents.orca_agent.ids import new_id
from agents.orca_agent.orders import Script, Task

WORKSPACE = "01" + "w" * 24


@dataclass
class MemoryBucket:
    """Objects by key; ``fail`` names keys whose next calls fail."""

    objects: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    fail: set[str] = field(default_factory=set)
    reads: int = 0

    def get(self, key: str, *, bucket: str = "", attempts: int = 1) -> Stored:
        self.reads += 1
        self._check(key)
        if key not in self.objects:
            raise Missing("NoSuchKey", key, status=404)
        body = self.objects[key]
        return Stored(body, hashlib.sha256(body).hexdigest())

    def get_if_changed(self, key: str, etag: str) -> Stored | None:
        stored = self.get(key)
        return None if stored.etag == etag else stored

    def download(self, key: str, into: Target, *, limit: int, bucket: str = "") -> None:
        body = self.get(key).body
        if len(body) > limit:
            raise CloudError("TooLarge", key)
        into.write(body)

    def list(self, prefix: str) -> Iterator[Listed]:
        self._check(prefix)
        self.reads += 1
        for key in sorted(self.objects):
            if key.startswith(prefix):
                yield Listed(key, len(self.objects[key]))

    def fetch(self, key: str, into: Target, *, start: int, length: int) -> int:
        body = self.get(key).body
        into.seek(0)
        into.truncate()
        into.write(body[start : start + length])
        return len(body)

    def put(self, key: str, body: bytes, content_type: str) -> None:
        self._check(key)
        self.objects[key] = body
        self.types[key] = content_type

    def upload(self, key: str, descriptor: int, size: int, content_type: str) -> None:
        self.put(key, os.pread(descriptor, size, 0), content_type)

    def _check(self, key: str) -> None:
        if any(part in key for part in self.fail):
            raise CloudError("Unreachable", key, retryable=True)


@dataclass
class MemorySecrets:
    """Values by name; ``error`` is what every call meets."""

    values: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    error: CloudError | None = None

    def get(self, name: str) -> str:
        self.asked.append(name)
        if self.error is not None:
            raise self.error
        if name not in self.values:
            raise Missing("ResourceNotFoundException", name, status=400)
        return self.values[name]


@dataclass
class MemoryQueue:
    """Notes what is done to its messages."""

    visibility: list[tuple[str, int]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    fail: bool = False

    def receive(self, limit: int, *, wait: int, visibility: int) -> list[Message]:
        return []

    def set_visibility(self, receipt: str, seconds: int) -> None:
        self._check()
        self.visibility.append((receipt, seconds))

    def delete(self, receipt: str) -> None:
        self._check()
        self.deleted.append(receipt)

    def send(self, body: str) -> None:
        self._check()

    def _check(self) -> None:
        if self.fail:
            raise CloudError("Unreachable", "queue", retryable=True)


def any_links() -> Links:
    """Ask the network, without keys."""
    return Links(Client("s3", "eu-central-1", None, Transport(), pause=lambda seconds: None))


def packed(files: Mapping[str, str | bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def script_in(bucket: MemoryBucket, files: Mapping[str, str | bytes], **more: Any) -> Script:
    """A bundle in the bucket, in Python unless told otherwise."""
    content = packed(files)
    sha256 = hashlib.sha256(content).hexdigest()
    bucket.objects[f"scripts/{sha256}.zip"] = content
    return Script(f"scripts/{sha256}.zip", sha256, **{"entrypoint": "main.py", "runtime": "python", **more})


def task_of(script: Script, **more: Any) -> Task:
    return Task(WORKSPACE, new_id(), new_id(), 1, "a step", script, **more)


def any_script() -> Script:
    return Script("scripts/x.zip", "ab" * 32, "main.py", "python")
