"""What a page shows of a Terraform run: how far it is, and what it is in the middle of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from portal.workspaces.models import TerraformLine, TerraformRun

_STARTS = "apply_start"
_ENDS = frozenset({"apply_complete", "apply_errored"})
_SHOWN_LINES = 2_000
# What the resources of our modules are to somebody who does not know AWS.
_PLAIN = {
    "aws_instance": "the machine",
    "aws_s3_bucket": "the bucket",
    "aws_s3_object": "a file in the bucket",
    "aws_sqs_queue": "a queue",
    "aws_iam_role": "a role",
    "aws_iam_role_policy": "what the role may do",
    "aws_iam_policy": "what the role may do",
    "aws_iam_instance_profile": "the machine's identity",
    "aws_security_group": "the firewall",
    "aws_vpc_security_group_ingress_rule": "a firewall rule",
    "aws_vpc_security_group_egress_rule": "a firewall rule",
    "aws_security_group_rule": "a firewall rule",
    "aws_vpc": "the network",
    "aws_subnet": "a part of the network",
    "aws_internet_gateway": "the way to the internet",
    "aws_route_table": "the routes",
    "aws_route_table_association": "the routes",
    "aws_s3_bucket_metric": "the measuring of what is downloaded",
    "aws_s3_bucket_policy": "the bucket's policy",
    "aws_s3_bucket_public_access_block": "the bucket's lock against the public",
    "aws_s3_bucket_ownership_controls": "the bucket's ownership",
    "aws_s3_bucket_server_side_encryption_configuration": "the bucket's encryption",
    "aws_sqs_queue_policy": "the queue's policy",
}


@dataclass(frozen=True)
class Going:
    """A resource that Terraform is at work on: its address, what it is in plain words, since when."""

    address: str
    plain: str
    since: datetime


@dataclass(frozen=True)
class Change:
    """A line of the plan."""

    address: str
    plain: str
    action: str


@dataclass(frozen=True)
class Progress:
    """A Terraform run as a page shows it."""

    run: TerraformRun
    going: list[Going]
    changes: list[Change]
    lines: list[TerraformLine]


def progress_of(run: TerraformRun, *, lines: int = _SHOWN_LINES) -> Progress:
    """How far a run is, with its last ``lines`` lines, oldest first."""
    working = run.state == TerraformRun.State.APPLYING
    said = list(run.lines.order_by("-number")[:lines])[::-1] if lines else []
    changes = [Change(c["address"], _plain(c["type"]), c["action"]) for c in run.changes if c["action"] != "no-op"]
    return Progress(run, _going(run) if working else [], changes, said)


def _going(run: TerraformRun) -> list[Going]:
    started: dict[str, datetime] = {}
    marks = run.lines.filter(kind__in=[_STARTS, *_ENDS]).order_by("number").values_list("kind", "address", "at")
    for kind, address, at in marks:
        if kind == _STARTS:
            started[address] = at
        else:
            started.pop(address, None)
    return [Going(address, _plain(_type_of(address)), since) for address, since in started.items()]


def _type_of(address: str) -> str:
    """``aws_instance`` of ``module.compute.aws_instance.this[0]``."""
    return next((part for part in address.split(".") if part.startswith("aws_")), "")


def _plain(kind: str) -> str:
    return _PLAIN.get(kind, kind.removeprefix("aws_").replace("_", " "))
