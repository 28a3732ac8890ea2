"""What came out of a job, brought together when its run has ended: one prefix, an index, an archive.

The shards' own outputs are copied where they lie. Two that gave a file of the same name both get their shard's name in
front of it. Whoever is killed in between is followed by somebody who copies only what is not there yet.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any

from django.db import transaction
from django.utils import timezone

from portal.clouds.services import account_handle
from portal.gateways import aws_bulk, aws_storage
from portal.gateways.aws import Account
from portal.jobs.archive import archived
from portal.jobs.attribution import MAP, Attribution
from portal.jobs.indexing import Entry, Index
from portal.jobs.models import Job, Phase
from portal.jobs.nodes import wanted_on_commit
from portal.jobs.phases import Lost, phase_enter, still_ours
from portal.jobs.searching import Watch
from portal.pipelines.models import State, Step
from portal.pipelines.spending import REACHED
from portal.usage.services import reading_add

logger = logging.getLogger(__name__)
_AT_ONCE = 8
_WINDOW = 64
_MOST_FILES = 10_000_000


@dataclass(frozen=True)
class _File:
    """A file that a shard left."""

    step: Step
    path: str
    size: int

    @property
    def source(self) -> str:
        return self.step.object_key(f"output/{self.path}")


def job_gather(job: Job) -> None:
    """Copy, index and archive the outputs of all shards that ended well. Raises ``CloudFault``, ``Lost``."""
    watch = Watch(job)
    gatherer = _Gatherer(job, watch)
    with Index(job) as index:
        gatherer.copy_into(index)
        gatherer.drop_leftovers()
        index.keep()
        reading_add(run=job.run, size=index.bytes)  # said before it is done: what S3 counts is known to be ours
        size = archived(job, index, watch) if index.files else 0
        _ended(job, index, size)


class _Gatherer:
    def __init__(self, job: Job, alive: Callable[[], None]) -> None:
        self.job = job
        self._alive = alive
        self._account: Account = account_handle(job.workspace.cloud_account)
        self._bucket = job.workspace.bucket
        self._prefix = job.key("outputs/")
        there = aws_storage.objects(self._account, self._bucket, self._prefix, most=_MOST_FILES)
        # What an earlier gathering has left: only what differs is copied again.
        self._there = {found.key.removeprefix(self._prefix): found.size for found in there}
        self._kept: set[str] = set()
        self._twice = self._colliding()

    def _steps(self) -> Iterator[Step]:
        """The shards that ended well, in their order, some at a time."""
        rows = Step.objects.filter(run=self.job.run_id, superseded=False, state=State.SUCCEEDED)
        shown = ("run_id", "position", "key", "attempt", "outputs", "outputs_truncated", "data", "origin", "image")
        rows = rows.select_related("origin").only(*shown, "origin__run_id", "origin__attempt")
        at = 0
        while lot := list(rows.filter(position__gt=at).order_by("position")[:500]):
            self._alive()
            yield from lot
            at = lot[-1].position

    def _files(self, step: Step) -> Iterator[_File]:
        if not step.outputs_truncated:
            found = ((output["path"], int(output["size"])) for output in step.outputs)
        else:
            prefix = step.object_key("output/")
            there = aws_storage.objects(self._account, self._bucket, prefix, most=_MOST_FILES)
            found = ((stored.key.removeprefix(prefix), stored.size) for stored in there)
        for path, size in found:
            if path != MAP:
                yield _File(step, path, size)

    def _colliding(self) -> set[int]:
        """Hashes of the paths that more than one shard has."""
        seen: set[int] = set()
        twice: set[int] = set()
        for step in self._steps():
            for file in self._files(step):
                mark = _mark(file.path)
                (twice if mark in seen else seen).add(mark)
        return twice

    def _target(self, file: _File) -> str:
        return f"{file.step.key}/{file.path}" if _mark(file.path) in self._twice else file.path

    def copy_into(self, index: Index) -> None:
        """Copy everything, several at a time, and enter it."""
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="gather") as pool:
            for step in self._steps():
                attribution = Attribution.of(step, self._account, self._bucket)
                files = self._files(step)
                while window := list(islice(files, _WINDOW)):
                    self._alive()
                    for file, etag in zip(window, pool.map(self._copied, window), strict=True):
                        target = self._target(file)
                        self._kept.add(target)
                        items = attribution.items_of(file.path)
                        index.add(Entry(target, file.step.position, file.size, etag, file.path), items)
                index.shard_done(attribution.items)

    def _copied(self, file: _File) -> str:
        """The copy's ETag; empty where it was there already."""
        target = self._target(file)
        if self._there.get(target) == file.size and not self.job.run.again_of_id:
            return ""
        return aws_bulk.copy(self._account, self._bucket, file.source, self._prefix + target, file.size)

    def drop_leftovers(self) -> None:
        """Delete what an earlier gathering of this job has put where nothing belongs any more."""
        gone = self._there.keys() - self._kept
        aws_bulk.delete_many(self._account, self._bucket, [self._prefix + path for path in sorted(gone)])


def _mark(path: str) -> int:
    return int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "big")


def _ended(job: Job, index: Index, archive_bytes: int) -> None:
    now = timezone.now()
    with transaction.atomic():
        still_ours(job)
        unpaid = Step.objects.filter(run=job.run_id, state=State.CANCELLED, reason=REACHED).only("message").first()
        fields: dict[str, Any] = {
            "reason": REACHED if unpaid else "",
            "index_key": job.key("index.json"),
            "archive_key": job.key("archive.zip") if index.files else "",
            "archive_bytes": archive_bytes,
            "output_files": index.files,
            "output_bytes": index.bytes,
            "expires_at": now + timedelta(days=job.keep_days),
            "ended_at": now,
            "message": unpaid.message if unpaid else "" if index.files else "The shards left no outputs.",
        }
        if not phase_enter(job, Phase.ENDED, **fields):
            raise Lost
        wanted_on_commit(job.workspace_id)
