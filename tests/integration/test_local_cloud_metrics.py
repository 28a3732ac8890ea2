"""The local cloud says what buckets hold as S3 does: once a day, to whoever may ask CloudWatch."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.fixtures.cloud import ACCOUNTS, IMPATIENT, REGION, Cloud

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


def test_a_role_that_may_ask_hears_nothing_of_a_day_that_is_not_over(local_cloud: Cloud) -> None:
    assert asked(local_cloud, "cloudwatch:GetMetricStatistics") == []


def test_a_role_that_may_not_ask_is_refused(local_cloud: Cloud) -> None:
    with pytest.raises(ClientError, match="not authorized"):
        asked(local_cloud)
