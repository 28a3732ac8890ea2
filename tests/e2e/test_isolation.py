"""IAM keeps users apart: shown with the instance's and the person's own credentials, not with the portal's manners."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from scripts.orca.bench.installation import Lab, Orca, person_signed_up

pytestmark = pytest.mark.cloud

FROM_METADATA = """
import json, os, urllib.request
base = os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"].rstrip("/")
def ask(path, method="GET", **headers):
    return urllib.request.urlopen(urllib.request.Request(base + path, method=method, headers=headers)).read().decode()
token = ask("/latest/api/token", "PUT", **{"X-aws-ec2-metadata-token-ttl-seconds": "60"})
role = ask("/latest/meta-data/iam/security-credentials/", **{"X-aws-ec2-metadata-token": token})
keys = ask("/latest/meta-data/iam/security-credentials/" + role, **{"X-aws-ec2-metadata-token": token})
print(keys.replace("\\n", ""))
"""


def client(orca: Orca, service: str, key: str, secret: str, token: str) -> Any:
    return boto3.session.Session().client(  # type: ignore[call-overload]
        service,
        region_name="eu-central-1",
        endpoint_url=orca.cloud_url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"max_attempts": 0}),
    )


def denied(call: Callable[..., Any], **given: Any) -> bool:
    try:
        call(**given)
    except ClientError as error:
        return error.response["Error"]["Code"] in {"AccessDenied", "403", "AccessDeniedException"}
    return False


@pytest.fixture(scope="module")
def stranger(running_orca: Orca) -> dict[str, str]:
    """What another workspace has: made by hand with its names, so that the test needs no second build."""
    session = boto3.session.Session()
    names = {"bucket": "orca-0stranger", "queue": "orca-0stranger-tasks.fifo"}
    environment = running_orca.environment()
    keys = {
        "region_name": "eu-central-1",
        "endpoint_url": running_orca.cloud_url,
        "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
    }
    s3, sqs, iam = (session.client(service, **keys) for service in ("s3", "sqs", "iam"))  # type: ignore[call-overload]
    s3.create_bucket(Bucket=names["bucket"], CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket=names["bucket"], Key="secret.txt", Body=b"private")
    names["queue_url"] = sqs.create_queue(QueueName=names["queue"], Attributes={"FifoQueue": "true"})["QueueUrl"]
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::100000000001:root"}, "Action": "sts:AssumeRole"}
        ],
    }
    role = iam.create_role(RoleName="orca-0stranger-user", AssumeRolePolicyDocument=json.dumps(trust))
    names["role_arn"] = role["Role"]["Arn"]
    return names


def test_an_instance_reaches_its_own_things_and_nobody_elses(
    lab: Lab, running_orca: Orca, stranger: dict[str, str]
) -> None:
    run = lab.person.ended(lab.run(FROM_METADATA))
    found = json.loads(lab.person.log(run)[0])
    keys = (found["AccessKeyId"], found["SecretAccessKey"], found["Token"])
    s3, sqs, sts, iam = (client(running_orca, service, *keys) for service in ("s3", "sqs", "sts", "iam"))
    own = f"orca-{lab.workspace}"
    s3.put_object(Bucket=own, Key="mine.txt", Body=b"x")
    assert s3.get_object(Bucket=own, Key="mine.txt")["Body"].read() == b"x"
    assert denied(s3.get_object, Bucket=stranger["bucket"], Key="secret.txt")
    assert denied(s3.put_object, Bucket=stranger["bucket"], Key="x", Body=b"")
    assert denied(s3.list_objects_v2, Bucket=stranger["bucket"])
    assert denied(s3.get_object, Bucket="orca-state-100000000001", Key=f"workspaces/{lab.workspace}/workspace.tfstate")
    assert denied(sqs.receive_message, QueueUrl=stranger["queue_url"])
    assert denied(sqs.send_message, QueueUrl=stranger["queue_url"], MessageBody="x", MessageGroupId="g")
    events = stranger["queue_url"].rsplit("/", 1)[0] + "/orca-events"
    assert denied(sqs.receive_message, QueueUrl=events)
    assert denied(sts.assume_role, RoleArn=stranger["role_arn"], RoleSessionName="intruder")
    assert denied(
        sts.assume_role, RoleArn="arn:aws:iam::100000000001:role/orca-provisioner", RoleSessionName="intruder"
    )
    assert denied(iam.list_roles)


def test_a_persons_credentials_show_their_own_bucket_alone(
    lab: Lab, running_orca: Orca, stranger: dict[str, str]
) -> None:
    lent = lab.person.post(f"workspaces/{lab.workspace}/credentials/")
    keys = (lent["access_key_id"], lent["secret_access_key"], lent["session_token"])
    s3, sqs = client(running_orca, "s3", *keys), client(running_orca, "sqs", *keys)
    own = f"orca-{lab.workspace}"
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [own]
    s3.put_object(Bucket=own, Key="data/mine.csv", Body=b"1")
    assert s3.list_objects_v2(Bucket=own, Prefix="data/")["KeyCount"] == 1
    assert denied(s3.get_object, Bucket=own, Key="control/agent.json")
    assert denied(s3.put_object, Bucket=own, Key="control/desired.json", Body=b"{}")
    assert denied(s3.list_objects_v2, Bucket=stranger["bucket"])
    own_queue = stranger["queue_url"].replace("0stranger", lab.workspace)
    assert denied(sqs.send_message, QueueUrl=own_queue, MessageBody="x", MessageGroupId="g")


def test_another_person_sees_nothing(lab: Lab, running_orca: Orca) -> None:
    run = lab.person.ended(lab.run("print(1)"))
    eve = person_signed_up(running_orca)
    for path in (
        f"workspaces/{lab.workspace}/",
        f"workspaces/{lab.workspace}/terraform-runs/",
        f"runs/{run['id']}/",
        f"runs/{run['id']}/steps/{run['steps'][0]['id']}/log/",
        f"scripts/{run['script']}/",
    ):
        assert eve.api.get(path).status_code == 404, path
    for path in (
        f"workspaces/{lab.workspace}/stop/",
        f"workspaces/{lab.workspace}/credentials/",
        f"runs/{run['id']}/cancel/",
        f"runs/{run['id']}/again/",
    ):
        assert eve.api.post(path).status_code == 404, path
    assert eve.get("runs/")["results"] == []
