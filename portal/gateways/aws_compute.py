"""Machines as EC2 sees them, and the credentials that are lent to the person who owns a workspace."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from portal.gateways.aws import Account, client, translated

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef, InstanceTypeDef

LENT_SECONDS = 3600


@dataclass(frozen=True)
class Machine:
    """One EC2 instance; addresses are empty where it has none.

    ``launched_at``: it was last started. ``ended_at``: since then it was stopped or terminated, where EC2 says when.
    """

    instance_id: str
    state: str
    instance_type: str
    public_ip: str
    private_ip: str
    launched_at: datetime
    ended_at: datetime | None = None
    workspace_id: str = ""


def machines(account: Account, workspace_id: str) -> list[Machine]:
    """Every instance of a workspace, also those that were terminated a moment ago."""
    return _machines(account, {"Name": "tag:orca:workspace", "Values": [workspace_id]})


def machines_everywhere(account: Account) -> list[Machine]:
    """The instances of all workspaces in an account."""
    return _machines(account, {"Name": "tag-key", "Values": ["orca:workspace"]})


def _machines(account: Account, which: FilterTypeDef) -> list[Machine]:
    with translated("look at the instances"):
        pages = client("ec2", account).get_paginator("describe_instances")
        return [
            _machine(instance)
            for page in pages.paginate(Filters=[which])
            for reservation in page["Reservations"]
            for instance in reservation["Instances"]
        ]


def _machine(m: InstanceTypeDef) -> Machine:
    return Machine(
        instance_id=m["InstanceId"],
        state=m["State"]["Name"],
        instance_type=m["InstanceType"],
        public_ip=m.get("PublicIpAddress", ""),
        private_ip=m.get("PrivateIpAddress", ""),
        launched_at=m["LaunchTime"],
        ended_at=ended_at(m.get("StateTransitionReason", "")),
        workspace_id=next((tag["Value"] for tag in m.get("Tags", []) if tag["Key"] == "orca:workspace"), ""),
    )


def ended_at(reason: str) -> datetime | None:
    """The time in ``User initiated (2026-11-21 20:00:00 GMT)``; a machine that switched itself off has none there."""
    found = re.search(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)", reason)
    return datetime.fromisoformat(found[1]).replace(tzinfo=UTC) if found else None


def stop(account: Account, instance_ids: Sequence[str]) -> None:
    """Ask EC2 to stop instances; returns at once."""
    with translated("stop the instances"):
        client("ec2", account).stop_instances(InstanceIds=list(instance_ids))


def start(account: Account, instance_ids: Sequence[str]) -> None:
    """Ask EC2 to start instances; returns at once."""
    with translated("start the instances"):
        client("ec2", account).start_instances(InstanceIds=list(instance_ids))


def console(account: Account, instance_id: str) -> str:
    """What the instance printed while it booted; empty while EC2 has nothing yet."""
    with translated("read the instance's console"):
        return client("ec2", account).get_console_output(InstanceId=instance_id).get("Output", "")


@dataclass(frozen=True)
class LentCredentials:
    """Temporary AWS credentials of a person for their own workspace."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at: datetime


def lend(role_arn: str, external_id: str, session_name: str) -> LentCredentials:
    """Credentials of a workspace's user role, good for ``LENT_SECONDS``."""
    with translated("lend you credentials for the workspace"):
        found = client("sts").assume_role(
            RoleArn=role_arn,
            RoleSessionName=session_name,
            ExternalId=external_id,
            DurationSeconds=LENT_SECONDS,
        )["Credentials"]
    return LentCredentials(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"], found["Expiration"])
