"""Accounts that people link: what their role lets Orca do, and what Orca's own account lets their instances do.

A role is examined with the role itself, step by step; nothing is made in the account by that.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from portal.gateways import provisioner_policy
from portal.gateways.aws import SESSION_SECONDS, Account, client, error_code, link_client, translated
from portal.gateways.aws_platform import events_queue_url, platform_bucket

_INSTANCES_SID = "InstancesOfLinkedAccounts"
TEMPLATE_SECONDS = 12 * 3600
# What AWS answers to whoever may not assume a role, or names one that is not there: it does not say which.
_REFUSED = {"AccessDenied", "AccessDeniedException", "NoSuchEntity"}


def role_lets_in(role_arn: str, external_id: str | None) -> bool:
    """Whether the role may be assumed with this ExternalId, or without any. Raises ``CloudFault``."""
    given: dict[str, Any] = {} if external_id is None else {"ExternalId": external_id}
    with translated("try the role"):
        try:
            client("sts").assume_role(
                RoleArn=role_arn, RoleSessionName="orca-check", DurationSeconds=SESSION_SECONDS, **given
            )
        except ClientError as error:
            if error_code(error) in _REFUSED:
                return False
            raise
    return True


def role_lets_strangers_in(role_arn: str) -> tuple[bool, bool]:
    """Whether the role may be assumed without an ExternalId, and with one that was made up just now."""
    return role_lets_in(role_arn, None), role_lets_in(role_arn, "orca-wrong-" + secrets.token_urlsafe(18))


def whoami(account: Account) -> str:
    """Twelve digits of the account that the role's sessions are in."""
    with translated("ask whose role this is"):
        return str(client("sts", account).get_caller_identity()["Account"])


@dataclass(frozen=True)
class Denied:
    """Something that the role would not be allowed: the action, and on what."""

    action: str
    resource: str


def denied(
    account: Account, actions: Sequence[str], resources: Sequence[str], context: Mapping[str, str]
) -> list[Denied]:
    """Which of ``actions`` on ``resources`` IAM would refuse to the role, if they came with the condition keys
    ``context``. Raises ``CloudFault``, also where the role may not ask that of itself."""
    entries = [
        {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
        for key, value in context.items()
    ]
    pages = client("iam", account).get_paginator("simulate_principal_policy")
    with translated("ask what the role may do"):
        found = [
            result
            for page in pages.paginate(
                PolicySourceArn=account.role_arn,
                ActionNames=list(actions),
                ResourceArns=list(resources),
                ContextEntries=entries,  # type: ignore[arg-type]
            )
            for result in page["EvaluationResults"]
        ]
    return [
        Denied(result["EvalActionName"], result.get("EvalResourceName", "*"))
        for result in found
        if result["EvalDecision"] != "allowed"
    ]


def boundary_is_there(account: Account) -> bool:
    """Whether the policy that bounds the roles of workspaces is in the account."""
    role = account.role_arn.rsplit("/", 1)[-1]
    with translated("look for the boundary"):
        try:
            client("iam", account).get_policy(PolicyArn=provisioner_policy.boundary_arn(account.number, role))
        except ClientError as error:
            if error_code(error) == "NoSuchEntity":
                return False
            raise
    return True


def has_default_network(account: Account) -> bool:
    """Whether the region has the network that instances are started in."""
    with translated("look at the network"):
        found = client("ec2", account).describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])
    return bool(found["Vpcs"])


def instances_admit(accounts: Iterable[str]) -> None:
    """Let instances of workspaces in these accounts, and in no others but Orca's own, send to the events queue and
    fetch the agent. Nothing else of Orca's is open to them, and nothing to anybody else there."""
    numbers = sorted(set(accounts))
    with translated("let instances of linked accounts report"):
        _queue_admit(numbers)
        _bucket_admit(numbers)


def _queue_admit(numbers: list[str]) -> None:
    sqs, url = client("sqs"), events_queue_url()
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    # Accounts as a condition: of principals a queue's policy takes fifty at most.
    statement = {
        "Sid": _INSTANCES_SID,
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"StringEquals": {"aws:PrincipalAccount": numbers}, **_of_instances()},
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy) if numbers else ""})


def _bucket_admit(numbers: list[str]) -> None:
    s3, bucket = client("s3"), platform_bucket()
    if not numbers:
        s3.delete_bucket_policy(Bucket=bucket)
        return
    # Accounts by name: what is open to "*" under a condition counts as public, which the bucket refuses.
    statement = {
        "Sid": _INSTANCES_SID,
        "Effect": "Allow",
        "Principal": {"AWS": [f"arn:aws:iam::{number}:root" for number in numbers]},
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/agents/*",
        "Condition": _of_instances(),
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def _of_instances() -> dict[str, dict[str, str]]:
    return {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/orca-0*-instance"}}


def template_publish(template: str, key: str) -> None:
    """Keep the CloudFormation template where the console can fetch it with a presigned address."""
    with translated("publish the template"):
        client("s3").put_object(
            Bucket=platform_bucket(), Key=key, Body=template.encode(), ContentType="application/json"
        )


def template_link(key: str) -> str:
    """A presigned address of the template, good for ``TEMPLATE_SECONDS``. CloudFormation takes templates from S3 only,
    and this bucket is closed to the public."""
    with translated("make a link to the template"):
        return link_client(None).generate_presigned_url(
            "get_object", Params={"Bucket": platform_bucket(), "Key": key}, ExpiresIn=TEMPLATE_SECONDS
        )
