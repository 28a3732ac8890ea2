"""What the local cloud has acknowledged is there again after SIGTERM and after ``kill -9``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fixtures.cloud import ACCOUNTS, REGION, Cloud, measured, running, wait_until

pytest_plugins = ["tests.fixtures.cloud"]
pytestmark = pytest.mark.cloud

PLATFORM = ACCOUNTS["platform"]
LOCATION = {"LocationConstraint": REGION}
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{PLATFORM}:root", "Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A local cloud of this module's own, which its tests kill and start again."""
    yield from running(tmp_path_factory.mktemp("local-cloud-state") / "data")


class Instances:
    """Two instances that count their boots, one of them stopped."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.ec2 = cloud.client("ec2")
        script = "#!/bin/sh\necho x >> /root/boots; echo boot $(wc -l < /root/boots); exec sleep 3600"
        run = self.ec2.run_instances(ImageId="ami-12c6146b", MinCount=2, MaxCount=2, UserData=script)["Instances"]
        self.up, self.down = (one["InstanceId"] for one in run)
        for one in (self.up, self.down):
            self.wait_for_boot(one, 1)
        self.ec2.stop_instances(InstanceIds=[self.down])
        wait_until(lambda: self.state(self.down) == "stopped", what="the stop")
        self.address = self.describe(self.up)["PublicIpAddress"]

    def describe(self, instance: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
        return found

    def state(self, instance: str) -> str:
        return str(self.describe(instance)["State"]["Name"])

    def wait_for_boot(self, instance: str, number: int) -> None:
        def booted() -> bool:
            return f"boot {number}\n" in self.ec2.get_console_output(InstanceId=instance).get("Output", "")

        wait_until(booted, what=f"boot {number}")

    @property
    def process(self) -> Path:
        pid = next(one["pid"] for one in self.cloud.health()["instances"] if one["id"] == self.up)
        return Path(f"/proc/{pid}")


def test_everything_is_there_again_after_a_crash_and_after_a_stop(cloud: Cloud) -> None:
    s3, sqs, iam = cloud.client("s3"), cloud.client("sqs"), cloud.client("iam")
    large = os.urandom(3_000_000)
    s3.create_bucket(Bucket="kept", CreateBucketConfiguration=LOCATION)
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_metrics_configuration(Bucket="kept", Id="All", MetricsConfiguration={"Id": "All"})
    s3.put_object(Bucket="kept", Key="small", Body=b"1", Metadata={"a": "b"}, Tagging="t=1")
    s3.put_object(Bucket="kept", Key="small", Body=b"2")
    s3.put_object(Bucket="kept", Key="large", Body=large, ContentType="image/tiff")
    s3.put_object(Bucket="kept", Key="gone", Body=large)
    s3.delete_object(Bucket="kept", Key="gone")
    upload = s3.create_multipart_upload(Bucket="kept", Key="parts")["UploadId"]
    part = s3.upload_part(Bucket="kept", Key="parts", UploadId=upload, PartNumber=1, Body=large)["ETag"]
    dead = sqs.create_queue(QueueName="kept-dead.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    dead_arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2})
    queue = sqs.create_queue(
        QueueName="kept.fifo", Attributes={"FifoQueue": "true", "RedrivePolicy": redrive, "VisibilityTimeout": "60"}
    )["QueueUrl"]
    for number in range(3):
        sqs.send_message(
            QueueUrl=queue, MessageBody=str(number), MessageGroupId="g", MessageDeduplicationId=str(number)
        )
    first = sqs.receive_message(QueueUrl=queue)["Messages"][0]
    iam.create_role(RoleName="kept", AssumeRolePolicyDocument=TRUST)
    sts = cloud.client("sts").assume_role(RoleArn=f"arn:aws:iam::{PLATFORM}:role/kept", RoleSessionName="test")
    cloud.client("ssm").put_parameter(Name="/kept", Value="1", Type="String")
    secrets = cloud.client("secretsmanager")
    secrets.create_secret(Name="kept/SECRET", SecretString="1")
    secrets.put_secret_value(SecretId="kept/SECRET", SecretString="2")
    cloud.client("dynamodb").create_table(
        TableName="kept",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    identity = cloud.credentials()

    def uploaded() -> int:
        """How many bytes have come to the bucket; of those before a crash, the last seconds are not known."""
        return measured(cloud.client("cloudwatch"), "AWS/S3", "BytesUploaded", BucketName="kept", FilterId="All")

    for crash in (True, False):
        if crash:
            cloud.kill()
        else:
            counted = uploaded()
            assert cloud.stop() == 0
        cloud.start()

        assert cloud.credentials() == identity
        assert s3.get_bucket_metrics_configuration(Bucket="kept", Id="All")["MetricsConfiguration"] == {"Id": "All"}
        assert crash or uploaded() >= counted > 0
        assert [(one["Key"], one["Size"]) for one in s3.list_objects_v2(Bucket="kept")["Contents"]][:2] == [
            ("large", len(large)),
            *([("small", 1)] if crash else [("parts", len(large))]),
        ]
        assert s3.get_object(Bucket="kept", Key="large")["Body"].read() == large
        versions = s3.list_object_versions(Bucket="kept", Prefix="small")["Versions"]
        ids = [one["VersionId"] for one in versions]
        assert [s3.get_object(Bucket="kept", Key="small", VersionId=one)["Body"].read() for one in ids] == [b"2", b"1"]
        old = {"Bucket": "kept", "Key": "small", "VersionId": ids[1]}
        assert s3.head_object(**old)["Metadata"] == {"a": "b"}
        assert s3.get_object_tagging(**old)["TagSet"] == [{"Key": "t", "Value": "1"}]
        if crash:
            parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
            s3.complete_multipart_upload(Bucket="kept", Key="parts", UploadId=upload, MultipartUpload=parts)
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=first["ReceiptHandle"])
        assert s3.get_object(Bucket="kept", Key="parts")["Body"].read() == large
        again = sqs.send_message(QueueUrl=queue, MessageBody="0", MessageGroupId="h", MessageDeduplicationId="0")
        assert again["MessageId"] == first["MessageId"]
        keys = sts["Credentials"]
        session = cloud.client_with("sts", keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
        assert session.get_caller_identity()["Arn"].endswith("assumed-role/kept/test")
        assert cloud.client("ssm").get_parameter(Name="/kept")["Parameter"]["Value"] == "1"
        assert secrets.get_secret_value(SecretId="kept/SECRET")["SecretString"] == "2"
        assert cloud.client("dynamodb").list_tables()["TableNames"] == ["kept"]
    rest = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert [one["Body"] for one in rest] == ["1", "2"]


def test_instances_go_down_with_the_cloud_and_come_back_with_it(cloud: Cloud) -> None:
    instances = Instances(cloud)
    for boot, how in ((2, cloud.kill), (3, cloud.stop)):
        process = instances.process
        how()
        wait_until(lambda process=process: not process.exists(), what="the end of the sandbox")
        cloud.start()
        instances.wait_for_boot(instances.up, boot)
        assert instances.state(instances.up) == "running"
        assert instances.describe(instances.up)["PublicIpAddress"] == instances.address
        assert instances.state(instances.down) == "stopped"
    instances.ec2.start_instances(InstanceIds=[instances.down])
    instances.wait_for_boot(instances.down, 2)
    instances.ec2.terminate_instances(InstanceIds=[instances.up, instances.down])


def test_many_objects_messages_and_roles_survive_a_kill(cloud: Cloud) -> None:
    s3, sqs, iam = cloud.client("s3"), cloud.client("sqs"), cloud.client("iam")
    s3.create_bucket(Bucket="many", CreateBucketConfiguration=LOCATION)

    for number in range(400):
        s3.put_object(Bucket="many", Key=f"{number}", Body=b"x" * 20_000)
    queue = sqs.create_queue(QueueName="many")["QueueUrl"]
    for number in range(100):
        sqs.send_message(QueueUrl=queue, MessageBody=f"{number}" * 50)
    for number in range(10):
        iam.create_role(RoleName=f"many-{number}", AssumeRolePolicyDocument=TRUST)
    cloud.kill()
    cloud.start()
    assert s3.list_objects_v2(Bucket="many")["KeyCount"] == 400
    waiting = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"])
    assert waiting["Attributes"]["ApproximateNumberOfMessages"] == "100"
    assert len([role for role in iam.list_roles()["Roles"] if role["RoleName"].startswith("many-")]) == 10


def test_a_bucket_or_queue_made_again_does_not_hold_what_the_old_one_held(cloud: Cloud) -> None:
    s3, sqs = cloud.client("s3"), cloud.client("sqs")
    s3.create_bucket(Bucket="again", CreateBucketConfiguration=LOCATION)
    s3.put_object(Bucket="again", Key="old", Body=b"x")
    s3.delete_object(Bucket="again", Key="old")
    s3.delete_bucket(Bucket="again")
    s3.create_bucket(Bucket="again", CreateBucketConfiguration=LOCATION)
    old = sqs.create_queue(QueueName="again")["QueueUrl"]
    sqs.send_message(QueueUrl=old, MessageBody="old")
    sqs.delete_queue(QueueUrl=old)
    new = sqs.create_queue(QueueName="again")["QueueUrl"]
    cloud.kill()
    cloud.start()
    assert "Contents" not in s3.list_objects_v2(Bucket="again")
    assert "Messages" not in sqs.receive_message(QueueUrl=new)
    with pytest.raises(ClientError):
        s3.get_object(Bucket="again", Key="old")


def test_bodies_that_nothing_needs_any_more_are_deleted(cloud: Cloud) -> None:
    s3, folder = cloud.client("s3"), cloud.data / "objects"

    def files() -> int:
        return sum(path.is_file() for path in folder.glob("*/*"))

    s3.create_bucket(Bucket="bodies", CreateBucketConfiguration=LOCATION)
    before = files()
    for _ in range(3):
        s3.put_object(Bucket="bodies", Key="one", Body=os.urandom(100_000))
    assert files() == before + 1
    s3.copy_object(Bucket="bodies", Key="two", CopySource={"Bucket": "bodies", "Key": "one"})
    s3.delete_object(Bucket="bodies", Key="one")
    assert len(s3.get_object(Bucket="bodies", Key="two")["Body"].read()) == 100_000
    s3.delete_object(Bucket="bodies", Key="two")
    assert files() == before


def test_a_folder_is_for_one_cloud_and_a_damaged_file_is_named_and_kept(cloud: Cloud) -> None:
    other = subprocess.run(
        [sys.executable, "-m", "agents.local_cloud", "--port", "0", "--data", str(cloud.data)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert other.returncode == 1
    assert f"is in use by another local cloud, process {cloud.pid}" in other.stderr
    cloud.stop()
    kept = cloud.data / "state" / "iam" / PLATFORM / "aws.pickle"
    kept.write_bytes(b"garbage")
    with pytest.raises(AssertionError) as refused:
        cloud.start()
    assert "aws.pickle cannot be read" in str(refused.value)
    assert kept.read_bytes() == b"garbage"
