"""All outputs of a job as one zip archive, written to the bucket while it is made.

Nothing is compressed: pictures are already, and what is stored can be copied at the speed of the bucket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from zipfile import ZIP_STORED

from zipstream import ZipStream

from portal.clouds.services import account_handle
from portal.gateways import aws_bulk, aws_storage
from portal.gateways.aws import Account
from portal.jobs.indexing import Index
from portal.jobs.models import Job

# Small files are fetched ahead, so many at a time: else each would cost a round trip.
_SMALL = 1024 * 1024
_AHEAD = 16


def archived(job: Job, index: Index, alive: Callable[[], None]) -> int:
    """Write the archive; its size in bytes. Raises ``CloudFault``."""
    account, bucket = account_handle(job.workspace.cloud_account), job.workspace.bucket
    with ThreadPoolExecutor(_AHEAD, thread_name_prefix="archive") as pool:
        content = _zipped(_Files(job, index, account, pool))
        return aws_bulk.put_stream(account, bucket, job.key("archive.zip"), content, "application/zip", alive=alive)


class _Files:
    """The files of an index with their contents."""

    def __init__(self, job: Job, index: Index, account: Account, pool: ThreadPoolExecutor) -> None:
        self._job, self._index, self._account, self._pool = job, index, account, pool

    def __iter__(self) -> Iterator[tuple[str, bytes | Iterator[bytes], int]]:
        waiting: deque[tuple[str, int, Future[bytes] | None]] = deque()
        for entry in self._index.entries():
            path, size = entry["path"], entry["size"]
            small = self._pool.submit(self._read, path, size) if 0 < size <= _SMALL else None
            waiting.append((path, size, small))
            if len(waiting) > _AHEAD:
                yield self._next(waiting)
        while waiting:
            yield self._next(waiting)

    def _next(self, waiting: deque[tuple[str, int, Future[bytes] | None]]) -> tuple[str, bytes | Iterator[bytes], int]:
        path, size, small = waiting.popleft()
        if small is not None:
            return path, small.result(), size
        return path, aws_bulk.chunks(self._account, self._job.workspace.bucket, self._key(path)) if size else b"", size

    def _read(self, path: str, size: int) -> bytes:
        return aws_storage.read_bytes(self._account, self._job.workspace.bucket, self._key(path), most=size)

    def _key(self, path: str) -> str:
        return self._job.key(f"outputs/{path}")


def _zipped(files: _Files) -> Iterator[bytes]:
    archive = ZipStream(compress_type=ZIP_STORED)
    for path, content, size in files:
        archive.add(content, path, size=None if isinstance(content, bytes) else size)
        yield from archive.all_files()
    yield from archive.finalize()
