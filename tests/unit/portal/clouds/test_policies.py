"""One set of permissions in three places: what Orca builds with, Terraform's envs/link, and CloudFormation."""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest

from portal.clouds.models import CloudAccount
from portal.clouds.permissions import groups
from portal.clouds.template import module_archive, stack_link, template_body
from portal.gateways import aws_linked, aws_platform, provisioner_policy
from tests.fixtures.cloud import REPOSITORY

ACCOUNT, ROLE = "222222222222", "orca-link-abcdef"


def _like(pattern: str, value: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), value) is not None


def _allowed(document: dict[str, Any], action: str, resource: str, context: dict[str, str]) -> bool:
    return any(
        any(_like(pattern, action) for pattern in statement["Action"])
        and any(_like(pattern, resource) for pattern in statement["Resource"])
        and all(
            context.get(key) in ([value] if isinstance(value, str) else value)
            for key, value in statement.get("Condition", {}).get("StringEquals", {}).items()
        )
        and all(
            context.get(key) != value
            for key, value in statement.get("Condition", {}).get("StringNotEquals", {}).items()
        )
        for statement in document["Statement"]
    )


def test_the_policy_grants_what_the_check_asks_for() -> None:
    document = provisioner_policy.document(ACCOUNT, ROLE)
    asked = [
        (action, resource, dict(need.context))
        for group in groups(ACCOUNT, "eu-central-1", ROLE)
        for need in group.needs
        for action in need.actions
        for resource in need.resources
    ]
    assert len(asked) > 70
    assert [each for each in asked if not _allowed(document, *each)] == []


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("iam:CreateRole", "role/orca-0x-instance", {}),
        ("iam:CreateRole", "role/orca-0x-instance", {"iam:PermissionsBoundary": "arn:aws:iam::1:policy/mine"}),
        (
            "iam:PutRolePolicy",
            f"role/{ROLE}",
            {"iam:PermissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/{ROLE}-boundary"},
        ),
        ("iam:UpdateAssumeRolePolicy", f"role/{ROLE}", {}),
        ("iam:DeleteRolePermissionsBoundary", "role/orca-0x-instance", {}),
        ("iam:CreatePolicyVersion", f"policy/{ROLE}-boundary", {}),
        ("iam:PassRole", "role/orca-0x-instance", {"iam:PassedToService": "lambda.amazonaws.com"}),
    ],
)
def test_the_role_cannot_widen_itself(action: str, resource: str, context: dict[str, str]) -> None:
    document = provisioner_policy.document(ACCOUNT, ROLE)
    assert not _allowed(document, action, f"arn:aws:iam::{ACCOUNT}:{resource}", context)


def test_machines_of_others_are_out_of_reach() -> None:
    document = provisioner_policy.document(ACCOUNT, ROLE)
    machine = f"arn:aws:ec2:eu-central-1:{ACCOUNT}:instance/i-1"
    assert not _allowed(document, "ec2:TerminateInstances", machine, {})
    assert not _allowed(document, "ec2:CreateTags", machine, {"aws:RequestTag/orca:managed-by": "orca"})
    assert not _allowed(document, "ec2:RunInstances", machine, {})


@pytest.mark.parametrize("bucket", ["anybodys", "orca-platform-222222222222", "orca-0other"])
def test_of_data_it_reads_what_others_have_and_nothing_of_the_account(bucket: str) -> None:
    others, whole = provisioner_policy.others_data(ACCOUNT), provisioner_policy.document(ACCOUNT, ROLE)
    asked = "s3:GetObject", f"arn:aws:s3:::{bucket}/a.tif"
    outside, inside = {"aws:ResourceAccount": "333333333333"}, {"aws:ResourceAccount": ACCOUNT}
    assert _allowed(others, *asked, outside)
    assert _allowed(whole, *asked, outside)
    assert not _allowed(others, *asked, inside)
    assert _allowed(whole, *asked, inside) == (bucket == "orca-0other")
    assert not _allowed(whole, "s3:PutObject", "arn:aws:s3:::anybodys/a.tif", outside)
    assert len(json.dumps(others, separators=(",", ":"))) < 2_048, "what STS takes for a session"


def test_the_module_reads_what_orca_builds_with() -> None:
    """Mend with: python -m portal.gateways.provisioner_policy terraform/envs/link"""
    for name, text in provisioner_policy.module_files().items():
        assert (REPOSITORY / "terraform" / "envs" / "link" / name).read_text() == text, name


def test_it_fits_into_what_iam_takes() -> None:
    """IAM's quotas: 10,240 characters for a role's inline policies, 6,144 for a managed one, without white space."""
    assert len(json.dumps(provisioner_policy.document(ACCOUNT, "orca-" + "x" * 50), separators=(",", ":"))) < 10_240
    assert len(json.dumps(provisioner_policy.boundary(ACCOUNT), separators=(",", ":"))) < 6_144


def _filled(part: Any) -> Any:
    """The template's values as CloudFormation fills them in for one account and role."""
    if isinstance(part, list):
        return [_filled(value) for value in part]
    if not isinstance(part, dict):
        return part
    if set(part) == {"Fn::Sub"}:
        return part["Fn::Sub"].replace("${AWS::AccountId}", ACCOUNT).replace("${RoleName}", ROLE)
    return {name: _filled(value) for name, value in part.items()}


def test_the_template_makes_the_same_role() -> None:
    template = json.loads(template_body("111111111111"))
    role, boundary = (template["Resources"][name]["Properties"] for name in ("Role", "Boundary"))
    assert _filled(role["Policies"][0]["PolicyDocument"]) == provisioner_policy.document(ACCOUNT, ROLE)
    assert _filled(boundary["PolicyDocument"]) == provisioner_policy.boundary(ACCOUNT)
    assert _filled(boundary["ManagedPolicyName"]) == f"{ROLE}-boundary"
    assert template["Parameters"]["OrcaAccountId"]["Default"] == "111111111111"


@pytest.fixture
def link(cloud_account: CloudAccount, owner: Any) -> CloudAccount:
    return CloudAccount.objects.create(
        owner=owner, name="Mine", claimed_name="Mine", region="eu-central-1", external_id="id-_x", state="pending"
    )


def test_one_click_opens_the_console_with_everything_filled_in(link: CloudAccount) -> None:
    found = urlsplit(stack_link(link))
    assert (found.scheme, found.netloc, found.path) == ("https", "console.aws.amazon.com", "/cloudformation/home")
    assert found.query == "region=eu-central-1"
    path, _, query = found.fragment.partition("?")
    given = {name: values[0] for name, values in parse_qs(query).items()}
    assert path == "/stacks/quickcreate"
    assert given["param_ExternalId"] == "id-_x"
    assert given["param_OrcaAccountId"] == "123456789012"
    assert given["param_RoleName"] == given["stackName"] == f"orca-link-{link.pk[-6:]}"
    template = urlsplit(given["templateURL"])
    key = template.path.rsplit("orca-platform-123456789012/", 1)[-1].lstrip("/")
    kept = boto3.client("s3").get_object(Bucket=aws_platform.platform_bucket(), Key=key)["Body"].read()
    assert json.loads(kept) == json.loads(template_body("123456789012"))


def test_the_module_comes_with_the_links_variables(link: CloudAccount) -> None:
    with zipfile.ZipFile(io.BytesIO(module_archive(link))) as archive:
        names = set(archive.namelist())
        variables = archive.read("orca-link/terraform.tfvars").decode()
    assert {"orca-link/main.tf", "orca-link/permissions.json.tftpl", "orca-link/versions.tf"} <= names
    assert 'external_id     = "id-_x"' in variables
    assert "next_external_id" not in variables


def test_orcas_queue_and_bucket_know_linked_instances_alone(cloud_account: CloudAccount) -> None:
    sqs, s3 = boto3.client("sqs"), boto3.client("s3")
    aws_linked.instances_admit(["222222222222", "333333333333", "222222222222"])
    url = aws_platform.events_queue_url()
    policy = json.loads(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"])
    (statement,) = policy["Statement"]
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Condition"]["StringEquals"] == {"aws:PrincipalAccount": ["222222222222", "333333333333"]}
    assert statement["Condition"]["ArnLike"] == {"aws:PrincipalArn": "arn:aws:iam::*:role/orca-0*-instance"}
    bucket = aws_platform.platform_bucket()
    (statement,) = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert statement["Action"] == "s3:GetObject"
    assert statement["Resource"] == f"arn:aws:s3:::{bucket}/agents/*"
    assert statement["Principal"] == {"AWS": ["arn:aws:iam::222222222222:root", "arn:aws:iam::333333333333:root"]}
    aws_linked.instances_admit([])
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
