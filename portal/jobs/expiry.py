"""Outputs are kept for so many days, and announced to go some days before they do."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from portal.clouds.services import account_handle
from portal.gateways import aws_bulk
from portal.jobs import money
from portal.jobs.models import Job, Phase
from portal.jobs.services import outputs_delete
from portal.notices.outbox import expiry_note

ANNOUNCED = timedelta(days=3)


def outputs_expire() -> int:
    """Announce what will be deleted soon, and delete what is due; how many jobs' outputs."""
    now = timezone.now()
    kept = Job.objects.filter(phase=Phase.ENDED, outputs_deleted_at=None).select_related("run")
    for job in kept.filter(expires_at__lt=now + ANNOUNCED, expiry_told_at=None).order_by("expires_at")[:500]:
        _announced(job)
    due = list(kept.filter(expires_at__lt=now).order_by("expires_at")[:500])
    for job in due:
        outputs_delete(job=job)
    return len(due)


def _announced(job: Job) -> None:
    with transaction.atomic():
        if not Job.objects.filter(pk=job.pk, expiry_told_at=None).update(expiry_told_at=timezone.now()):
            return
        if job.output_files and job.expires_at:
            why = f"{job.output_files:,} files are kept until then; download them, or copy what you need."
            expiry_note(run=job.run, at=job.expires_at, why=why)


def outputs_clear(*, job_id: str) -> int:
    """Delete the objects of a job whose outputs were given up, those of all its runs too; how many.

    The list of items stays: it says what the job was about. Raises ``CloudFault``.
    """
    job = Job.objects.select_related("workspace__cloud_account", "run").get(pk=job_id)
    if job.outputs_deleted_at is None:
        return 0
    account, bucket = account_handle(job.workspace.cloud_account), job.workspace.bucket
    gone = aws_bulk.delete_below(account, bucket, job.key("outputs/"))
    gone += aws_bulk.delete_many(
        account, bucket, [job.key(name) for name in ("archive.zip", "index.json", "index.csv")]
    )
    for run in money.runs_of(job.run):
        gone += aws_bulk.delete_below(account, bucket, f"runs/{run.pk}/")
    return gone
