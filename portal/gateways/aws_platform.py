"""What Orca itself needs in its own account: two buckets, the events queue, the provisioner role, the agent."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from portal.core.errors import Conflict
from portal.gateways import provisioner_policy
from portal.gateways.aws import Account, client, error_code, translated

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CreateBucketRequestTypeDef

EVENTS_QUEUE = "orca-events"
DEAD_EVENTS_QUEUE = "orca-events-dead"
PROVISIONER = provisioner_policy.PROVISIONER
_DAY = 86_400
_POLICY_VERSIONS = 5


@cache
def own_account_id() -> str:
    """The twelve digits of the account that Orca's own credentials belong to."""
    with translated("ask who Orca is"):
        return str(client("sts").get_caller_identity()["Account"])


def platform_bucket() -> str:
    """The bucket with the agent's archive and the script bundles."""
    return f"orca-platform-{own_account_id()}"


def state_bucket() -> str:
    """The bucket with Terraform's states and kept plans."""
    return f"orca-state-{own_account_id()}"


def provisioner_role_arn(account_id: str) -> str:
    """The role that builds workspaces in one of Orca's own accounts."""
    return f"arn:aws:iam::{account_id}:role/{PROVISIONER}"


@cache
def events_queue_url() -> str:
    """The address of the queue that agents report to."""
    with translated("find the events queue"):
        return client("sqs").get_queue_url(QueueName=EVENTS_QUEUE)["QueueUrl"]


@cache
def dead_events_queue_url() -> str:
    """The address of the queue for what could not be applied, however often it was tried."""
    with translated("find the queue of events that were set aside"):
        return client("sqs").get_queue_url(QueueName=DEAD_EVENTS_QUEUE)["QueueUrl"]


def events_queue_arn(region: str) -> str:
    """The same queue as policies name it."""
    return f"arn:aws:sqs:{region}:{own_account_id()}:{EVENTS_QUEUE}"


def ensure(account: Account) -> None:
    """Make what is missing. Repeatable."""
    with translated("set up Orca's own account"):
        _bucket_ensure(platform_bucket(), account.region, versioned=False)
        _bucket_ensure(state_bucket(), account.region, versioned=True)
        _events_ensure(account.region)
        _boundary_ensure(account)
        _provisioner_ensure(account)


def _bucket_ensure(name: str, region: str, *, versioned: bool) -> None:
    s3 = client("s3")
    request: CreateBucketRequestTypeDef = {"Bucket": name}
    if region != "us-east-1":
        request["CreateBucketConfiguration"] = {"LocationConstraint": region}  # type: ignore[typeddict-item]
    try:
        s3.create_bucket(**request)
    except ClientError as error:
        if error_code(error) != "BucketAlreadyOwnedByYou":
            raise
    s3.put_public_access_block(
        Bucket=name,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    s3.put_bucket_encryption(
        Bucket=name,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
    )
    if versioned:
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})


def _events_ensure(region: str) -> None:
    sqs = client("sqs")
    sqs.create_queue(QueueName=DEAD_EVENTS_QUEUE, Attributes={"MessageRetentionPeriod": str(14 * _DAY)})
    url = sqs.create_queue(QueueName=EVENTS_QUEUE)["QueueUrl"]
    dead_arn = f"arn:aws:sqs:{region}:{own_account_id()}:{DEAD_EVENTS_QUEUE}"
    sqs.set_queue_attributes(
        QueueUrl=url,
        Attributes={
            "MessageRetentionPeriod": str(14 * _DAY),
            # What a killed relay had in its hands comes again after this; applying takes a fraction of it.
            "VisibilityTimeout": "5",
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 50}),
        },
    )


def _provisioner_ensure(account: Account) -> None:
    iam = client("iam")
    trust: dict[str, Any] = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{own_account_id()}:root"},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": account.external_id}},
            }
        ],
    }
    try:
        iam.create_role(
            RoleName=PROVISIONER,
            AssumeRolePolicyDocument=json.dumps(trust),
            Description="Orca builds its users' workspaces with this role.",
            MaxSessionDuration=3600,
        )
    except ClientError as error:
        if error_code(error) != "EntityAlreadyExists":
            raise
        iam.update_assume_role_policy(RoleName=PROVISIONER, PolicyDocument=json.dumps(trust))
    iam.put_role_policy(
        RoleName=PROVISIONER,
        PolicyName="build-workspaces",
        PolicyDocument=json.dumps(provisioner_policy.document(account.number)),
    )


def _boundary_ensure(account: Account) -> None:
    iam, arn = client("iam"), provisioner_policy.boundary_arn(account.number)
    text = json.dumps(provisioner_policy.boundary(account.number))
    try:
        iam.create_policy(PolicyName=arn.rsplit("/", 1)[-1], PolicyDocument=text)
    except ClientError as error:
        if error_code(error) != "EntityAlreadyExists":
            raise
        _boundary_renew(arn, text)


def _boundary_renew(arn: str, text: str) -> None:
    """Make ``text`` the policy's newest version, where it is another. IAM keeps five: the oldest goes."""
    iam = client("iam")
    versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    current = next(version["VersionId"] for version in versions if version["IsDefaultVersion"])
    found = iam.get_policy_version(PolicyArn=arn, VersionId=current)["PolicyVersion"]["Document"]
    if found == json.loads(text):
        return
    others = sorted((v for v in versions if not v["IsDefaultVersion"]), key=lambda version: version["CreateDate"])
    if len(versions) >= _POLICY_VERSIONS:
        iam.delete_policy_version(PolicyArn=arn, VersionId=others[0]["VersionId"])
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=text, SetAsDefault=True)


@dataclass(frozen=True)
class AgentArchive:
    """The agent that instances are to run: where it lies and what it must hash to."""

    bucket: str
    key: str
    sha256: str


_AGENT_POINTER = "agents/current"


def agent_publish(archive: Path) -> AgentArchive:
    """Upload the agent under its own hash and make it the one that instances are to run."""
    if not archive.is_file():
        raise Conflict(
            f"The agent's archive is missing: {archive}",
            code="agent_archive_missing",
            hint="Build it: python -m agents.orca_agent.build --out " + str(archive),
        )
    content = archive.read_bytes()
    found = AgentArchive(platform_bucket(), *_agent_key(hashlib.sha256(content).hexdigest()))
    with translated("publish the agent"):
        client("s3").put_object(Bucket=found.bucket, Key=found.key, Body=content)
        client("s3").put_object(Bucket=found.bucket, Key=_AGENT_POINTER, Body=found.sha256.encode())
    return found


def agent_current() -> AgentArchive:
    """The agent that instances are to run."""
    with translated("find the agent"):
        sha256 = client("s3").get_object(Bucket=platform_bucket(), Key=_AGENT_POINTER)["Body"].read().decode()
    return AgentArchive(platform_bucket(), *_agent_key(sha256))


def _agent_key(sha256: str) -> tuple[str, str]:
    return f"agents/{sha256}.tar.gz", sha256
