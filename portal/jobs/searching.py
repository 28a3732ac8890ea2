"""Looking for a job's items, and freezing the list of them: from here on every shard and every retry sees the same.

The items are spooled to a file as they are found, then written to the workspace's bucket as one manifest, in the order
of the shards, with the plan of where each shard begins.
"""

from __future__ import annotations

import json
import tempfile
import time
from typing import Any

from django.conf import settings
from django.db import transaction

from portal.clouds.services import account_handle
from portal.core.errors import Invalid
from portal.core.live import publish
from portal.gateways import aws_bulk, aws_storage
from portal.jobs import finding, handing
from portal.jobs.models import Job, Phase
from portal.jobs.phases import Lost, announce, phase_enter, still_ours
from portal.jobs.splitting import Slice, Spool, shards_made
from portal.pipelines.models import OPEN, Run

PLAN = "plan.json"
_BEAT = 5.0


class Watch:
    """Called again and again by whoever works long: keeps our claim, and raises ``Lost`` when nobody wants the job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._due = 0.0
        self.found = 0

    def __call__(self) -> None:
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _BEAT
        still_ours(self._job)
        if self._job.phase != Phase.GATHERING and not is_wanted(self._job):
            raise Lost
        if self.found:
            Job.objects.filter(pk=self._job.pk).update(message=f"{self.found:,} items found so far.")
            publish([f"job:{self._job.pk}"])


def is_wanted(job: Job) -> bool:
    """Whether nobody has stopped it."""
    return Run.objects.filter(pk=job.run_id, state__in=OPEN, cancel_requested_at=None).exists()


def job_search(job: Job) -> None:
    """Find the items of a job, and keep them. Raises ``Invalid``, ``CloudFault``, ``Lost``."""
    rules, watch = job.definition["shards"], Watch(job)
    by = rules["by"]
    Job.objects.filter(pk=job.pk).update(message="Looking for the data.")
    with Spool(grouped=by not in {"count", "size"}, mark=handing.MARK.encode()) as spool:
        for item in finding.items_found(job, watch):
            line = item.line()
            spool.add(line, item.size, _value(line, by))
            watch.found = len(spool)
            if len(spool) > settings.MAX_ITEMS:
                raise _too_many()
            watch()
        if not len(spool):
            raise Invalid(
                "Nothing was found: no item is what the data description says.",
                code="nothing_found",
                hint="Look at the box, the time, the collections and the filters; the preview helps.",
            )
        slots = job.nodes * job.workspace.slots
        shards = shards_made(spool, rules, slots=slots, most=settings.MAX_SHARDS)
        _keep(job, spool, shards)


def _too_many() -> Invalid:
    return Invalid(
        f"These are more than {settings.MAX_ITEMS:,} items; a job may have so many.",
        code="too_many_items",
        hint="Narrow the description, or set its limit.",
    )


def _value(line: str, by: str) -> str:
    if by in {"count", "size"}:
        return ""
    item = json.loads(line)
    value = (item.get("properties") or {}).get(by, item.get(by))
    return json.dumps(value, sort_keys=True)


def _keep(job: Job, spool: Spool, shards: list[Any]) -> None:
    account, bucket = account_handle(job.workspace.cloud_account), job.workspace.bucket
    with tempfile.TemporaryFile(prefix="orca-manifest-") as manifest:
        slices, digest = spool.written(shards, manifest)
        size = manifest.tell()
        manifest.seek(0)
        key = job.key("items.jsonl")
        aws_bulk.put_file(account, bucket, key, manifest, "application/x-ndjson")
    plan = json.dumps([[part.offset, part.length, part.items, part.linked] for part in slices]).encode()
    aws_storage.put_bytes(account, bucket, job.key(PLAN), plan, "application/json")
    with transaction.atomic():
        still_ours(job)
        fields: dict[str, Any] = {
            "manifest_key": key,
            "manifest_bytes": size,
            "manifest_sha256": digest,
            "shards": len(slices),
        }
        message = f"{len(spool):,} items found; making {len(slices):,} shards."
        if not phase_enter(
            job, Phase.SPLITTING, items=len(spool), bytes=spool.total, message=message, reason="", **fields
        ):
            raise Lost
        announce(job)


def plan_of(job: Job) -> list[Slice]:
    """Where each shard's items lie in the manifest. Raises ``CloudFault``."""
    account = account_handle(job.workspace.cloud_account)
    plan = aws_storage.read_bytes(account, job.workspace.bucket, job.key(PLAN), most=64 * 1024 * 1024)
    return [Slice(*part) for part in json.loads(plan)]
