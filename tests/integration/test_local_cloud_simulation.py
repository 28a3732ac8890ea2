"""The local cloud tells what a role may do, keeps boundaries, and reads the policies of stacks, as AWS does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fixtures.cloud import ACCOUNTS, Cloud

pytestmark = pytest.mark.cloud

SECOND = ACCOUNTS["second"]
BOUNDARY = f"arn:aws:iam::{SECOND}:policy/simulated-boundary"


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: str, resource: str = "*", **condition: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Action": action,
        "Resource": resource,
        **({"Condition": condition} if condition else {}),
    }


TRUST = policy(
    {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{SECOND}:root"}, "Action": "sts:AssumeRole"},
)


@pytest.fixture(scope="module")
def role(local_cloud: Cloud) -> str:
    """A role in the second account: some buckets, roles within a boundary, and what bears its tag."""
    iam = local_cloud.client("iam", "second")
    iam.create_policy(PolicyName="simulated-boundary", PolicyDocument=policy(allow("s3:*")))
    iam.create_role(RoleName="simulated", AssumeRolePolicyDocument=TRUST)
    document = policy(
        allow("s3:GetObject", "arn:aws:s3:::simulated-*"),
        {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::simulated-closed*"},
        allow(
            "iam:CreateRole",
            f"arn:aws:iam::{SECOND}:role/made-*",
            StringEquals={"iam:PermissionsBoundary": BOUNDARY},
        ),
        allow(
            "iam:PutRolePolicy",
            f"arn:aws:iam::{SECOND}:role/made-*",
            StringEquals={"iam:PermissionsBoundary": BOUNDARY},
        ),
        allow("ec2:StopInstances", StringEquals={"aws:ResourceTag/mine": "yes"}),
        allow("iam:SimulatePrincipalPolicy", f"arn:aws:iam::{SECOND}:role/simulated"),
    )
    iam.put_role_policy(RoleName="simulated", PolicyName="p", PolicyDocument=document)
    return f"arn:aws:iam::{SECOND}:role/simulated"


def as_role(cloud: Cloud, role: str, service: str) -> Any:
    keys = cloud.client("sts", "second").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    return cloud.client_with(service, keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])


def decisions(iam: Any, role: str, actions: list[str], resource: str, **context: str) -> dict[str, str]:
    entries = [
        {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
        for key, value in context.items()
    ]
    found = iam.simulate_principal_policy(
        PolicySourceArn=role, ActionNames=actions, ResourceArns=[resource], ContextEntries=entries
    )
    return {result["EvalActionName"]: result["EvalDecision"] for result in found["EvaluationResults"]}


def test_a_role_may_be_asked_what_it_may_do(local_cloud: Cloud, role: str) -> None:
    iam = as_role(local_cloud, role, "iam")
    both = ["s3:GetObject", "s3:PutObject"]
    found = decisions(iam, role, both, "arn:aws:s3:::simulated-open/x")
    assert found == {"s3:GetObject": "allowed", "s3:PutObject": "implicitDeny"}
    assert set(decisions(iam, role, both, "arn:aws:s3:::simulated-closed/x").values()) == {"explicitDeny"}
    stop = ["ec2:StopInstances"]
    assert decisions(iam, role, stop, "*") == {"ec2:StopInstances": "implicitDeny"}
    tagged = {"aws:ResourceTag/mine": "yes"}
    assert decisions(iam, role, stop, "*", **tagged) == {"ec2:StopInstances": "allowed"}


def test_it_may_ask_about_itself_alone_and_only_of_what_is_there(local_cloud: Cloud, role: str) -> None:
    iam = as_role(local_cloud, role, "iam")
    with pytest.raises(ClientError, match="SimulatePrincipalPolicy"):
        decisions(iam, f"arn:aws:iam::{SECOND}:user/administrator", ["s3:GetObject"], "*")
    with pytest.raises(ClientError, match="does not exist"):
        decisions(local_cloud.client("iam", "second"), f"arn:aws:iam::{SECOND}:role/nobody", ["s3:GetObject"], "*")


def test_roles_are_made_within_the_boundary_only(local_cloud: Cloud, role: str) -> None:
    iam = as_role(local_cloud, role, "iam")
    given = {"RoleName": "made-one", "AssumeRolePolicyDocument": TRUST}
    for boundary in ({}, {"PermissionsBoundary": f"arn:aws:iam::{SECOND}:policy/another"}):
        with pytest.raises(ClientError, match="iam:CreateRole"):
            iam.create_role(**given, **boundary)
    iam.create_role(**given, PermissionsBoundary=BOUNDARY)
    iam.put_role_policy(RoleName="made-one", PolicyName="p", PolicyDocument=policy(allow("*")))
    made = f"arn:aws:iam::{SECOND}:role/made-one"
    asked = ["s3:GetObject", "iam:CreateUser"]
    found = decisions(local_cloud.client("iam", "second"), made, asked, "*")
    assert found == {"s3:GetObject": "allowed", "iam:CreateUser": "implicitDeny"}
    with pytest.raises(ClientError, match="iam:CreateUser"):
        as_role(local_cloud, made, "iam").create_user(UserName="escaped")
    unbounded = local_cloud.client("iam", "second")
    unbounded.create_role(RoleName="made-two", AssumeRolePolicyDocument=TRUST)
    with pytest.raises(ClientError, match="iam:PutRolePolicy"):
        iam.put_role_policy(RoleName="made-two", PolicyName="p", PolicyDocument=policy(allow("*")))


def test_a_role_of_a_stack_may_what_its_template_says(local_cloud: Cloud) -> None:
    inline = {"Version": "2012-10-17", "Statement": [allow("sqs:ListQueues")]}
    properties = {
        "RoleName": "of-a-stack",
        "AssumeRolePolicyDocument": json.loads(TRUST),
        "Policies": [{"PolicyName": "p", "PolicyDocument": inline}],
    }
    template = {"Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": properties}}}
    stacks = local_cloud.client("cloudformation", "second")
    stacks.create_stack(StackName="simulated", TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_NAMED_IAM"])
    made = f"arn:aws:iam::{SECOND}:role/of-a-stack"
    as_role(local_cloud, made, "sqs").list_queues()
    with pytest.raises(ClientError, match="sqs:CreateQueue"):
        as_role(local_cloud, made, "sqs").create_queue(QueueName="x")
