"""What buckets hold is measured by S3 itself, once a day, and written down once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import boto3
import pytest
from django.utils import timezone
from moto.s3.models import S3Backend

from agents.local_cloud.mends import bucket_metrics
from portal.usage.models import Kind, UsageRecord
from portal.usage.storage import storage_measure
from portal.workspaces.models import Workspace

TOMORROW = timedelta(days=1)
pytestmark = pytest.mark.usefixtures("_s3_measures")


@pytest.fixture
def _s3_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What S3 says as the local cloud lets it, a day after the tests begin."""
    monkeypatch.setattr(
        S3Backend, "get_cloudwatch_metrics", S3Backend.get_cloudwatch_metrics
    )  # put back after the test

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + TOMORROW

    monkeypatch.setattr(bucket_metrics, "datetime", Tomorrow)
    bucket_metrics.apply()


def today() -> date:
    return timezone.now().astimezone(UTC).date()


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    boto3.client("s3").put_object(Bucket=workspace.bucket, Key="a", Body=b"x" * 5_000)
    return workspace


def test_a_day_is_written_down_once_it_is_over(filled: Workspace) -> None:
    assert storage_measure() == 0  # the first size is today's
    assert storage_measure(today=today() + TOMORROW) == 1
    assert storage_measure(today=today() + TOMORROW) == 0
    record = UsageRecord.objects.get()
    assert (record.kind, record.quantity, record.unit) == (Kind.STORAGE, 5_000 * 24, "byte-hours")
    assert record.day == today()
    assert record.rate == 24_500_000


def test_a_gigabyte_for_a_month_costs_the_price_of_one(filled: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {date(2026, 10, 1) + timedelta(days=day): 1024**3 for day in range(31)}
    monkeypatch.setattr("portal.gateways.aws_metrics.bucket_bytes", lambda *_: sizes)
    Workspace.objects.update(created_at=datetime(2026, 9, 1, tzinfo=UTC))
    assert storage_measure(today=date(2026, 11, 1)) == 31
    assert 0 <= 24_500_000 - sum(UsageRecord.objects.values_list("nano", flat=True)) < 31


def test_a_workspace_that_is_gone_with_its_data_is_not_asked_for(filled: Workspace) -> None:
    Workspace.objects.update(state="destroyed")
    assert storage_measure(today=today() + TOMORROW) == 0
    Workspace.objects.update(data_kept=True)
    assert storage_measure(today=today() + TOMORROW) == 1


def test_a_bucket_of_which_nothing_is_known_is_asked_for_again(workspace: Workspace) -> None:
    boto3.client("s3").delete_bucket(Bucket=workspace.bucket)
    assert storage_measure(today=today() + TOMORROW) == 0
