"""Finding what an interrupted apply left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import boto3
import pytest
from moto import mock_aws

from portal.gateways.terraform_strays import Stray, strays_find, variables_covering

ID, OTHER = "01j00000000000000000000001", "01j00000000000000000000002"
REGION: Final = "eu-central-1"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


@pytest.fixture(autouse=True)
def _cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield


def _variables(**more: object) -> dict[str, object]:
    return {"workspace_id": ID, "region": REGION, "ssh_cidrs": ["203.0.113.0/24"], "instance_count": 1, **more}


def _find(*known: str) -> dict[str, str]:
    return {s.address: s.identity for s in strays_find(_variables(), known, environment=ENVIRONMENT)}


def _make(workspace: str = ID) -> dict[str, str]:
    """A whole workspace by hand, as far as it cannot be made twice."""
    name = f"orca-{workspace}"
    s3, iam = boto3.client("s3", region_name=REGION), boto3.client("iam", region_name=REGION)
    ec2: Any = boto3.client("ec2", region_name=REGION)
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    for role in ("instance", "user"):
        iam.create_role(RoleName=f"{name}-{role}", AssumeRolePolicyDocument=json.dumps({"Statement": []}))
    iam.create_instance_profile(InstanceProfileName=f"{name}-instance")
    group = ec2.create_security_group(GroupName=name, Description="x")["GroupId"]
    network = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "203.0.113.0/24"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[network])
    return {"group": group, "instance": _instance(ec2, workspace, 1)}


def _instance(ec2: Any, workspace: str, number: int) -> str:
    tags = [{"Key": "Name", "Value": f"orca-{workspace}-{number}"}, {"Key": "orca:workspace", "Value": workspace}]
    found = ec2.run_instances(
        ImageId="ami-0123456789abcdef0",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )
    return str(found["Instances"][0]["InstanceId"])


def test_nothing_is_there() -> None:
    assert _find() == {}


def test_all_that_cannot_be_made_twice_is_found() -> None:
    made = _make()
    found = _find()
    rules = {address for address in found if "_rule" in address}
    assert rules == {
        'module.compute[0].aws_vpc_security_group_ingress_rule.ssh["203.0.113.0/24"]',
        'module.compute[0].aws_vpc_security_group_egress_rule.all["0.0.0.0/0"]',
    }
    assert all(found[address].startswith("sgr-") for address in rules)
    assert {address: identity for address, identity in found.items() if address not in rules} == {
        "module.storage.aws_s3_bucket.this": f"orca-{ID}",
        "module.identity[0].aws_iam_role.instance": f"orca-{ID}-instance",
        "module.identity[0].aws_iam_role.user": f"orca-{ID}-user",
        "module.identity[0].aws_iam_instance_profile.instance": f"orca-{ID}-instance",
        "module.compute[0].aws_security_group.this": made["group"],
        "module.compute[0].aws_instance.this[0]": made["instance"],
    }


def test_what_the_state_knows_is_no_stray() -> None:
    _make()
    assert "module.storage.aws_s3_bucket.this" not in _find("module.storage.aws_s3_bucket.this")


def test_another_workspace_is_left_alone() -> None:
    _make(OTHER)
    assert _find() == {}


def test_a_terminated_instance_is_gone_and_a_second_of_a_name_is_not_taken() -> None:
    ec2 = boto3.client("ec2", region_name=REGION)
    ec2.terminate_instances(InstanceIds=[_instance(ec2, ID, 1)])
    first = _instance(ec2, ID, 1)
    _instance(ec2, ID, 1)
    assert _find() == {"module.compute[0].aws_instance.this[0]": first}


def test_variables_make_room_for_every_stray() -> None:
    strays = [
        Stray('module.compute[0].aws_vpc_security_group_ingress_rule.ssh["198.51.100.0/24"]', "sgr-1"),
        Stray("module.compute[0].aws_instance.this[2]", "i-1"),
    ]
    found = variables_covering(strays, _variables(data_only=True))
    assert (found["ssh_cidrs"], found["instance_count"], found["data_only"]) == (
        ["198.51.100.0/24", "203.0.113.0/24"],
        3,
        False,
    )
    assert variables_covering([], _variables(instance_count=2))["instance_count"] == 2
