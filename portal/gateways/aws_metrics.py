"""What CloudWatch has measured."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from portal.gateways.aws import Account, client, translated

_DAY = 86_400


def bucket_bytes(account: Account, bucket: str, first: date, last: date) -> dict[date, int]:
    """How many bytes a bucket held on each of these days, as far as S3 has said so: once a day, some time after it."""
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    with translated("read how much the bucket holds"):
        found = client("cloudwatch", account).get_metric_statistics(
            Namespace="AWS/S3",
            MetricName="BucketSizeBytes",
            Dimensions=[
                {"Name": "BucketName", "Value": bucket},
                {"Name": "StorageType", "Value": "StandardStorage"},
            ],
            StartTime=begin,
            EndTime=begin + timedelta(days=(last - first).days + 1),
            Period=_DAY,
            Statistics=["Average"],
        )
    return {point["Timestamp"].date(): int(point["Average"]) for point in found["Datapoints"]}
