"""Where a job's items come from: `portal.jobs.sources`, or the outputs of an earlier job."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from django.conf import settings

from portal.clouds.services import account_handle
from portal.core.errors import CloudFault, Invalid
from portal.gateways import aws_bulk
from portal.jobs import sources
from portal.jobs.models import Job
from portal.workspaces.models import Workspace

Alive = Callable[[], None]


class Item(Protocol):
    """One item: its line of the manifest, and how many bytes its assets have, if that is known."""

    @property
    def size(self) -> int | None: ...

    def line(self) -> str: ...


def schema() -> Mapping[str, Any]:
    """The JSON Schema of a data description."""
    return sources.schema()


def data_checked(data: Mapping[str, Any]) -> dict[str, Any]:
    """The description as it is kept. Raises ``Invalid`` whose fields begin with ``data``."""
    return sources.checked(data).normal()


def access_of(workspace: Workspace) -> sources.Access:
    """What a search for a job in this workspace may reach."""
    return sources.access_of(account_handle(workspace.cloud_account), workspace.bucket)


def items_found(job: Job, alive: Alive) -> Iterator[Item]:
    """The items of a job, one by one; ``alive`` is called again and again, and raises when nobody wants them.

    Raises ``Invalid`` for what cannot be found, ``CloudFault`` for what may be found later.
    """
    if job.definition["input_job"] is not None:
        yield from _outputs(job)
        return
    data = job.definition["data"]
    deadline = time.monotonic() + settings.SEARCH_WITHIN
    try:
        yield from sources.find(sources.checked(data), access=access_of(job.workspace), check=alive, deadline=deadline)
    except sources.Unfound as error:
        if error.retryable:
            raise CloudFault(error.message, code=error.code, hint=error.hint, retryable=True) from error
        raise


@dataclass(frozen=True)
class _Output:
    """A file that an earlier job left."""

    id: str
    source: str
    asset: Mapping[str, Any]

    @property
    def size(self) -> int:
        return int(self.asset["size"])

    def line(self) -> str:
        """Its line of the manifest."""
        empty = {"collection": None, "datetime": None, "bbox": None, "geometry": None}
        item = {"id": self.id, **empty, "properties": {}, "source": self.source, "assets": {"file": self.asset}}
        return json.dumps(item, separators=(",", ":"))


def _outputs(job: Job) -> Iterator[_Output]:
    """The outputs of an earlier job, each an item. Of one in another workspace they are linked when they are needed."""
    giver = Job.objects.select_related("workspace__cloud_account").filter(pk=job.input_job_id, owner=job.owner).first()
    if giver is None or not giver.index_key or giver.outputs_deleted_at:
        raise Invalid("The outputs of the job that was named are not there any more.", code="input_gone")
    bucket, own = giver.workspace.bucket, giver.workspace_id == job.workspace_id
    for row in _rows(giver):
        key = giver.key(f"outputs/{row['path']}")
        where = {"key": key} if own else {"href": f"s3://{bucket}/{key}"}
        yield _Output(row["path"], f"s3://{bucket}/{key}", {**where, "size": int(row["size"])})


def _rows(giver: Job) -> Iterator[dict[str, str]]:
    """The lines of an index, as they come."""
    account = account_handle(giver.workspace.cloud_account)
    raw = aws_bulk.chunks(account, giver.workspace.bucket, giver.key("index.csv"))
    lines = io.BufferedReader(_Readable(raw))
    yield from csv.DictReader(io.TextIOWrapper(lines, encoding="utf-8", newline=""))


class _Readable(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._held:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._held = chunk
        count = min(len(buffer), len(self._held))
        buffer[:count], self._held = self._held[:count], self._held[count:]
        return count
