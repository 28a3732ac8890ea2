"""What the buckets of workspaces hold, as S3 measures it once a day."""

from __future__ import annotations

import logging
from datetime import date, timedelta

from django.db.models import Q
from django.utils import timezone

from portal.clouds.services import account_handle
from portal.core.errors import CloudFault
from portal.gateways import aws_metrics
from portal.usage import prices
from portal.usage.accrual import day_of, midnight
from portal.usage.models import Kind, UsageRecord
from portal.usage.services import BYTE_HOURS, records_add
from portal.usage.settling import seconds_of_month
from portal.workspaces.models import Workspace

logger = logging.getLogger(__name__)
# S3 says a day's size up to two days later; what was missed while Orca was away is fetched as far back.
LOOK_BACK = timedelta(days=7)


def storage_measure(*, today: date | None = None) -> int:
    """Write down what each bucket held on the days that are over; how many records are new."""
    last = (today or day_of(timezone.now())) - timedelta(days=1)
    first, count = last - LOOK_BACK, 0
    there = Q(state__in=[*Workspace.ALIVE, "stopping", "stopped", "failed", "planning"]) | Q(data_kept=True)
    for workspace in Workspace.objects.filter(there, created_at__lt=midnight(last + timedelta(days=1))).select_related(
        "cloud_account"
    ):
        known = UsageRecord.objects.filter(key=_key(workspace, last))
        if known.exists():
            continue
        try:
            sizes = aws_metrics.bucket_bytes(account_handle(workspace.cloud_account), workspace.bucket, first, last)
        except CloudFault as error:
            logger.warning("size of the bucket of %s: %s", workspace.pk, error.message)
            continue
        count += len(records_add(records=[_record(workspace, day, size) for day, size in sorted(sizes.items())]))
    return count


def _key(workspace: Workspace, day: date) -> str:
    return f"s:{workspace.pk}:{day:%Y%m%d}"


def _record(workspace: Workspace, day: date, size: int) -> UsageRecord:
    begin = midnight(day)
    rate = prices.storage_rate(workspace.cloud_account.region, begin)
    return UsageRecord(
        owner_id=workspace.owner_id,
        workspace=workspace,
        kind=Kind.STORAGE,
        quantity=size * 24,
        unit=BYTE_HOURS,
        rate=rate,
        nano=size * 86_400 * rate // (prices.GIB * seconds_of_month(day)),
        began_at=begin,
        ended_at=begin + timedelta(days=1),
        day=day,
        key=_key(workspace, day),
    )
