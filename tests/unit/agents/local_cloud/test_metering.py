"""Requests are counted as S3 counts them, what instances send as theirs, and all of it is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
from moto import mock_aws
from moto.s3.models import s3_backends

from agents.local_cloud.access.callers import ANONYMOUS, Caller
from agents.local_cloud.access.enforcement import Call
from agents.local_cloud.access.sessions import Sessions
from agents.local_cloud.metering import KEPT_HOURS, Meter, configurations

ACCOUNT: Final = "123456789012"
REGION: Final = "eu-central-1"
INSTANCE = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-1"


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    """One bucket, whose requests are measured."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        boto3.client("s3", region_name=REGION).create_bucket(
            Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        configurations(s3_backends[ACCOUNT]["aws"].buckets["bucket"])["All"] = b""
        yield Meter(tmp_path / "metrics.json")


def call(instance: str | None = None) -> Call:
    caller = ANONYMOUS
    if instance:
        session = Sessions(b"k" * 32).issue(
            account_id=ACCOUNT,
            kind="role",
            name="r",
            owner_id="o",
            role_arn="arn",
            session_name=instance,
            seconds=60,
            source_instance_arn=instance,
        )
        caller = Caller(ACCOUNT, "role", "r", "arn", "o", session=session)
    return Call(caller, "s3", REGION, {})


def asked(method: str, url: str) -> dict[str, Any]:
    return {"REQUEST_METHOD": method, "RAW_URI": url, "QUERY_STRING": url.partition("?")[2], "HTTP_HOST": "localhost"}


def sums(meter: Meter, namespace: str = "AWS/S3") -> dict[str, int]:
    return {metric: value for series, _, metric, value in meter.of(ACCOUNT, REGION) if series[2] == namespace}


@pytest.mark.parametrize(
    ("method", "url", "kind"),
    [
        ("GET", "/bucket/key", "GetRequests"),
        ("HEAD", "/bucket/key", "HeadRequests"),
        ("PUT", "/bucket/key?partNumber=1", "PutRequests"),
        ("POST", "/bucket?delete", "PostRequests"),
        ("DELETE", "/bucket/key", "DeleteRequests"),
        ("GET", "/bucket?list-type=2&prefix=x", "ListRequests"),
        ("GET", "/bucket", "ListRequests"),
        ("GET", "/bucket?policy", ""),
    ],
)
def test_each_request_is_one_of_its_kind(meter: Meter, method: str, url: str, kind: str) -> None:
    meter.served("s3", asked(method, url), call(), came=0, went=0, status=200)
    assert sums(meter) == {"AllRequests": 1, **({kind: 1} if kind else {})}


@pytest.mark.parametrize(
    ("method", "status", "counted"),
    [("GET", 200, {"BytesDownloaded": 9}), ("HEAD", 200, {}), ("GET", 404, {}), ("GET", 206, {"BytesDownloaded": 9})],
)
def test_bytes_are_those_of_bodies(meter: Meter, method: str, status: int, counted: dict[str, int]) -> None:
    meter.served("s3", asked(method, "/bucket/key"), call(), came=0, went=9, status=status)
    assert {name: value for name, value in sums(meter).items() if name.startswith("Bytes")} == counted


def test_what_instances_send_is_theirs_to_whatever_service(meter: Meter) -> None:
    meter.served("sqs", asked("POST", "/"), call(INSTANCE), came=1_000, went=5, status=200)
    meter.served("sqs", asked("POST", "/"), call(), came=1_000, went=5, status=200)
    assert 1_000 < sums(meter, "AWS/EC2")["NetworkOut"] < 1_100
    assert sums(meter) == {}


def test_it_is_there_again_but_for_what_is_too_old(meter: Meter, tmp_path: Path) -> None:
    series, hour = (ACCOUNT, REGION, "AWS/S3", (("BucketName", "bucket"),)), int(time.time()) // 3_600
    meter.add(series, {"AllRequests": 2}, hour=hour - KEPT_HOURS - 1)
    meter.add(series, {"AllRequests": 3}, hour=hour - 1)
    meter.flush()
    again = Meter(tmp_path / "metrics.json")
    again.restore()
    assert list(again.of(ACCOUNT, REGION)) == [(series, hour - 1, "AllRequests", 3)]
