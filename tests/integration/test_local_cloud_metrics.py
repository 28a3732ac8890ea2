"""The local cloud says what buckets hold and serve as S3 does, to whoever may ask CloudWatch."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError

from tests.fixtures.cloud import ACCOUNTS, IMPATIENT, REGION, Cloud, measured

pytestmark = pytest.mark.cloud


def asked(cloud: Cloud, *actions: str) -> list[Any]:
    """What a role with these permissions hears of a bucket with one object in it."""
    name = f"metrics-{len(actions)}"
    s3, iam, sts = (cloud.client(service) for service in ("s3", "iam", "sts"))
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=name, Key="a", Body=b"x" * 1_000)
    root = {"AWS": f"arn:aws:iam::{ACCOUNTS['platform']}:root"}
    trust = {"Statement": [{"Effect": "Allow", "Principal": root, "Action": "sts:AssumeRole"}]}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", **trust}))
    allowed = {"Statement": [{"Effect": "Allow", "Action": [*actions, "s3:ListBucket"], "Resource": "*"}]}
    document = json.dumps({"Version": "2012-10-17", **allowed})
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document)
    keys = sts.assume_role(RoleArn=role["Role"]["Arn"], RoleSessionName="test")["Credentials"]
    cloudwatch = boto3.client(
        "cloudwatch",
        region_name=REGION,
        endpoint_url=cloud.endpoint,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        config=IMPATIENT,
    )
    today = datetime.now(UTC)
    found = cloudwatch.get_metric_statistics(
        Namespace="AWS/S3",
        MetricName="BucketSizeBytes",
        Dimensions=[{"Name": "BucketName", "Value": name}, {"Name": "StorageType", "Value": "StandardStorage"}],
        StartTime=today - timedelta(days=7),
        EndTime=today + timedelta(days=1),
        Period=86_400,
        Statistics=["Average"],
    )
    return list(found["Datapoints"])


def test_what_was_served_is_counted_where_that_is_switched_on(local_cloud: Cloud) -> None:
    s3, cloudwatch = local_cloud.client("s3"), local_cloud.client("cloudwatch")

    def counted(bucket: str, metric: str) -> int:
        return measured(cloudwatch, "AWS/S3", metric, BucketName=bucket, FilterId="EntireBucket")

    for name in ("counted", "not-counted"):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_metrics_configuration(
        Bucket="counted", Id="EntireBucket", MetricsConfiguration={"Id": "EntireBucket"}
    )
    names = ("BytesDownloaded", "BytesUploaded", "GetRequests", "PutRequests", "HeadRequests", "AllRequests")
    before = {metric: counted("counted", metric) for metric in names}  # the configuration was a request, too
    for name in ("counted", "not-counted"):
        s3.put_object(Bucket=name, Key="a", Body=b"x" * 1_000)
        assert s3.get_object(Bucket=name, Key="a", Range="bytes=0-99")["ContentLength"] == 100
        link = s3.generate_presigned_url("get_object", Params={"Bucket": name, "Key": "a"})
        assert len(httpx.get(link, trust_env=False).content) == 1_000
        s3.head_object(Bucket=name, Key="a")
        with pytest.raises(ClientError):
            s3.get_object(Bucket=name, Key="missing")
        s3.delete_object(Bucket=name, Key="a")
    found = {metric: counted("counted", metric) - before[metric] for metric in names}
    assert found == {
        "BytesDownloaded": 1_100,
        "BytesUploaded": 1_000,
        "GetRequests": 3,
        "PutRequests": 1,
        "HeadRequests": 1,
        "AllRequests": 6,
    }
    assert counted("counted", "DeleteRequests") == 1
    s3.list_objects_v2(Bucket="counted")
    assert counted("counted", "ListRequests") == 1
    assert counted("not-counted", "AllRequests") == 0


def test_metrics_configurations_are_kept_as_they_were_put(local_cloud: Cloud) -> None:
    s3 = local_cloud.client("s3")
    s3.create_bucket(Bucket="configured", CreateBucketConfiguration={"LocationConstraint": REGION})
    for name in ("One", "Two"):
        given = {"Id": name, "Filter": {"Prefix": "runs/"}}
        s3.put_bucket_metrics_configuration(Bucket="configured", Id=name, MetricsConfiguration=given)
    found = s3.get_bucket_metrics_configuration(Bucket="configured", Id="One")["MetricsConfiguration"]
    assert found == {"Id": "One", "Filter": {"Prefix": "runs/"}}
    s3.delete_bucket_metrics_configuration(Bucket="configured", Id="One")
    listed = s3.list_bucket_metrics_configurations(Bucket="configured")["MetricsConfigurationList"]
    assert [each["Id"] for each in listed] == ["Two"]
    with pytest.raises(ClientError, match="NoSuchConfiguration"):
        s3.get_bucket_metrics_configuration(Bucket="configured", Id="One")


def test_a_role_that_may_ask_hears_nothing_of_a_day_that_is_not_over(local_cloud: Cloud) -> None:
    assert asked(local_cloud, "cloudwatch:GetMetricStatistics") == []


def test_a_role_that_may_not_ask_is_refused(local_cloud: Cloud) -> None:
    with pytest.raises(ClientError, match="not authorized"):
        asked(local_cloud)
