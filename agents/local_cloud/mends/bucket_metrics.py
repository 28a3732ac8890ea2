"""CloudWatch: what S3 says of buckets once a day, ``BucketSizeBytes`` and ``NumberOfObjects``, of days that are over.

moto says it of the present day only, and counts the size of its own objects in memory. Here a day's figures are made of
what the bucket still holds of what it held then: what was deleted since is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from moto.cloudwatch.models import MetricDatum
from moto.s3.models import FakeDeleteMarker, S3Backend, s3_backends

from agents.local_cloud.accounts import PARTITION
from agents.local_cloud.patching import replace

DAYS = 15


def apply() -> None:
    """Put the mend in place."""

    def get_cloudwatch_metrics(account_id: str, region: str) -> list[MetricDatum]:
        buckets = s3_backends[account_id][PARTITION].buckets
        here = [bucket for bucket in list(buckets.values()) if bucket.region_name == region]
        return [datum for bucket in here for datum in _published(bucket, datetime.now(UTC).date())]

    replace(S3Backend, "get_cloudwatch_metrics", staticmethod(get_cloudwatch_metrics))


def _published(bucket: Any, today: date) -> Iterator[MetricDatum]:
    for day, size, count in sizes(bucket, today):
        yield _datum(bucket, day, "BucketSizeBytes", size)
        yield _datum(bucket, day, "NumberOfObjects", count)


def sizes(bucket: Any, today: date) -> list[tuple[date, int, int]]:
    """Of the last days before ``today`` on which the bucket was there: bytes and objects, all versions."""
    made = [
        (_day(version.last_modified), version.size)
        for _, versions in bucket.keys.lists()
        for version in versions
        if not isinstance(version, FakeDeleteMarker)
    ]
    first = max(_day(bucket.creation_date), today - timedelta(days=DAYS))
    days = [first + timedelta(days=number) for number in range((today - first).days)]
    return [(day, sum(size for at, size in made if at <= day), sum(at <= day for at, _ in made)) for day in days]


def _day(at: datetime) -> date:
    return at.replace(tzinfo=UTC).date() if at.tzinfo is None else at.astimezone(UTC).date()


def _datum(bucket: Any, day: date, name: str, value: int) -> MetricDatum:
    storage, unit = ("StandardStorage", "Bytes") if name == "BucketSizeBytes" else ("AllStorageTypes", "Count")
    return MetricDatum(
        namespace="AWS/S3",
        name=name,
        value=value,
        dimensions=[{"Name": "StorageType", "Value": storage}, {"Name": "BucketName", "Value": bucket.name}],
        timestamp=datetime(day.year, day.month, day.day),  # noqa: DTZ001 (as moto compares it)
        unit=unit,
    )
