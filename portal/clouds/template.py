"""What a person takes to their own account: the CloudFormation template and the Terraform module, and the way there."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings

from portal.clouds.models import CloudAccount
from portal.gateways import aws_linked, aws_platform, provisioner_policy

_ACCOUNT = "${AWS::AccountId}"
_ROLE = "${RoleName}"


def role_name_of(account: CloudAccount) -> str:
    """What the role of a link is to be called: each its own, so that two fit into one account."""
    return f"orca-link-{account.pk[-6:]}"


def orca_account_id() -> str:
    """Whom the role has to trust. Raises ``CloudFault`` where Orca's own cloud does not answer."""
    return aws_platform.own_account_id()


@cache
def template_body(orca_account_id: str) -> str:
    """The CloudFormation template, as JSON: the same role and boundary as in ``terraform/envs/link``."""
    return json.dumps(_template(orca_account_id), indent=2) + "\n"


def template_key(orca_account_id: str) -> str:
    """Where the template lies in Orca's bucket: under its own hash, so that an old link shows what it showed."""
    return f"links/{hashlib.sha256(template_body(orca_account_id).encode()).hexdigest()[:16]}.template.json"


def _template(orca_account_id: str) -> dict[str, Any]:
    external = {"Type": "String", "AllowedPattern": "^[A-Za-z0-9+=,.@:/_-]{16,1224}$"}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Lets Orca build workspaces in this account: one role, and a boundary for what runs under it.",
        "Parameters": {
            "ExternalId": {**external, "Description": "As Orca shows it for this link."},
            "NextExternalId": {
                "Type": "String",
                "Default": "",
                "AllowedPattern": "^([A-Za-z0-9+=,.@:/_-]{16,1224})?$",
                "Description": "While the ExternalId is being exchanged: the new one. Empty otherwise.",
            },
            "OrcaAccountId": {
                "Type": "String",
                "Default": orca_account_id,
                "AllowedPattern": "^[0-9]{12}$",
                "Description": "The account that Orca itself runs in.",
            },
            "RoleName": {
                "Type": "String",
                "Default": "orca-link",
                "AllowedPattern": "^orca-[a-z][A-Za-z0-9-]{1,48}$",
                "Description": "Name of the role.",
            },
        },
        "Conditions": {"Exchanging": {"Fn::Not": [{"Fn::Equals": [{"Ref": "NextExternalId"}, ""]}]}},
        "Resources": {
            "Boundary": {
                "Type": "AWS::IAM::ManagedPolicy",
                "Properties": {
                    "ManagedPolicyName": {"Fn::Sub": f"{_ROLE}-boundary"},
                    "Description": "The most that anything in a workspace of Orca's may do.",
                    "PolicyDocument": _filled(provisioner_policy.boundary(_ACCOUNT)),
                },
            },
            "Role": {
                "Type": "AWS::IAM::Role",
                "Properties": {
                    "RoleName": {"Ref": "RoleName"},
                    "Description": "Orca builds workspaces in this account with this role.",
                    "MaxSessionDuration": 3600,
                    "AssumeRolePolicyDocument": _trust(),
                    "Policies": [
                        {
                            "PolicyName": "build-workspaces",
                            "PolicyDocument": _filled(provisioner_policy.document(_ACCOUNT, _ROLE)),
                        }
                    ],
                },
            },
        },
        "Outputs": {
            "RoleArn": {"Description": "Tell it to Orca.", "Value": {"Fn::GetAtt": ["Role", "Arn"]}},
        },
    }


def _trust() -> dict[str, Any]:
    both = [{"Ref": "ExternalId"}, {"Ref": "NextExternalId"}]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${OrcaAccountId}:root"}},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": {"Fn::If": ["Exchanging", both, both[0]]}}},
            }
        ],
    }


def _filled(part: Any) -> Any:
    """The same with ``Fn::Sub`` around each text that has something to be filled in."""
    if isinstance(part, dict):
        return {name: _filled(value) for name, value in part.items()}
    if isinstance(part, list):
        return [_filled(value) for value in part]
    return {"Fn::Sub": part} if isinstance(part, str) and "${" in part else part


def stack_link(account: CloudAccount) -> str:
    """The one-click link: AWS's console with the stack filled in; the person reads it and says yes."""
    region, orca = account.region, orca_account_id()
    given = {
        "templateURL": aws_linked.template_link(template_key(orca)),
        "stackName": role_name_of(account),
        "param_ExternalId": account.external_id,
        "param_NextExternalId": account.next_external_id,
        "param_OrcaAccountId": orca,
        "param_RoleName": role_name_of(account),
    }
    console = f"https://console.aws.amazon.com/cloudformation/home?region={quote(region)}"
    return f"{console}#/stacks/quickcreate?{urlencode(given, quote_via=quote, safe='')}"


def module_variables(account: CloudAccount) -> str:
    """``terraform.tfvars`` for ``terraform/envs/link``."""
    given = {
        "external_id": account.external_id,
        "next_external_id": account.next_external_id,
        "orca_account_id": orca_account_id(),
        "region": account.region,
        "role_name": role_name_of(account),
    }
    said = {name: value for name, value in given.items() if value}
    wide = max(map(len, said))
    return "".join(f"{name:<{wide}} = {json.dumps(value)}\n" for name, value in said.items())


def module_archive(account: CloudAccount) -> bytes:
    """``terraform/envs/link`` with the link's own ``terraform.tfvars``, as a zip."""
    folder, held = Path(settings.TERRAFORM_ROOT) / "link", io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            if path.suffix in {".tf", ".tftpl", ".md"}:
                archive.write(path, f"orca-link/{path.name}")
        archive.writestr("orca-link/terraform.tfvars", module_variables(account))
    return held.getvalue()
