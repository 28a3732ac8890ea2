"""What CloudWatch has measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from portal.gateways.aws import Account, client, translated

_DAY = 86_400
_HOUR = 3_600
# As the module terraform/modules/storage calls the metrics of a whole bucket.
WHOLE_BUCKET = "EntireBucket"
_MOST_QUERIES = 500


@dataclass(frozen=True)
class Traffic:
    """What S3 and EC2 have counted in an hour. Bytes, but for ``requests`` (that write or list) and ``reads``.

    ``instances``: how many of them sent anything.
    """

    downloaded: int = 0
    requests: int = 0
    reads: int = 0
    sent: int = 0
    instances: int = 0


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


def traffic(
    account: Account, bucket: str, instance_ids: Sequence[str], begin: datetime, end: datetime
) -> dict[datetime, Traffic]:
    """What went out of a bucket and of instances, and what was asked of the bucket, by the hour.

    One call for up to 500 metrics. Hours in which nothing was measured are not there. ``begin`` is on the hour.
    """
    asked = [*_of_bucket(bucket), *_of_instances(instance_ids)]
    sums: dict[str, dict[datetime, int]] = defaultdict(lambda: defaultdict(int))
    sending: dict[datetime, int] = defaultdict(int)
    for name, at, value in _measured(account, asked, begin, end):
        sums[name][at] += value
        sending[at] += name == "NetworkOut" and value > 0
    return {
        at: Traffic(
            downloaded=sums["BytesDownloaded"][at],
            requests=sum(sums[name][at] for name in _WRITING),
            reads=max(0, sums["AllRequests"][at] - sum(sums[name][at] for name in (*_WRITING, _FREE))),
            sent=sums["NetworkOut"][at],
            instances=sending[at],
        )
        for at in sorted({at for hours in sums.values() for at in hours})
    }


# S3 has one price for these, another for whatever else there is, and none for deleting.
_WRITING = ("PutRequests", "PostRequests", "ListRequests")
_FREE = "DeleteRequests"
_Metric = dict[str, Any]


def _of_bucket(bucket: str) -> Iterator[_Metric]:
    dimensions = [{"Name": "BucketName", "Value": bucket}, {"Name": "FilterId", "Value": WHOLE_BUCKET}]
    for name in ("BytesDownloaded", "AllRequests", *_WRITING, _FREE):
        yield {"Namespace": "AWS/S3", "MetricName": name, "Dimensions": dimensions}


def _of_instances(instance_ids: Iterable[str]) -> Iterator[_Metric]:
    for instance_id in instance_ids:
        dimensions = [{"Name": "InstanceId", "Value": instance_id}]
        yield {"Namespace": "AWS/EC2", "MetricName": "NetworkOut", "Dimensions": dimensions}


def _measured(
    account: Account, asked: Sequence[_Metric], begin: datetime, end: datetime
) -> Iterator[tuple[str, datetime, int]]:
    """Name, hour and sum of each value."""
    every = [
        {"Id": f"m{number}", "MetricStat": {"Metric": metric, "Period": _HOUR, "Stat": "Sum"}}
        for number, metric in enumerate(asked)
    ]
    for start in range(0, len(every), _MOST_QUERIES):
        queries = every[start : start + _MOST_QUERIES]
        with translated("read what was sent and asked for"):
            pages = client("cloudwatch", account).get_paginator("get_metric_data")
            for page in pages.paginate(MetricDataQueries=queries, StartTime=begin, EndTime=end):
                for found in page["MetricDataResults"]:
                    name = asked[int(found["Id"][1:])]["MetricName"]
                    for at, value in zip(found["Timestamps"], found["Values"], strict=True):
                        yield name, at.astimezone(UTC), int(value)
