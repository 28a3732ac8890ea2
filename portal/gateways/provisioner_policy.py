"""What the role that builds workspaces may do, and nothing more: in Orca's own account and in those that people link.

Everything it makes is called ``orca-<workspace>``, and ``orca/<workspace>/…`` where it is a secret; a workspace's id is
a ULID, which starts with ``0`` until the year 3084, so that ``orca-0*`` covers every workspace and neither Orca's own
buckets nor its own queues. Secrets are written and deleted: what is in them the portal cannot read. Machines and
security groups have no names: there the tag ``orca:managed-by``, which is set as they are made, tells what is Orca's.
Of buckets outside the account it reads what their owners let it read, for jobs whose requester pays (``others_data``).

A role that makes roles could give itself everything. So it may make only such as stay within a boundary, a policy
beside it that it cannot change: whatever runs in a workspace reaches workspaces' things alone.

``terraform/envs/link`` and the CloudFormation template say the same in their own words; a test holds them together.
``python -m portal.gateways.provisioner_policy`` writes what the module in ``terraform/envs/link`` reads.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PROVISIONER = "orca-provisioner"
TAG = "orca:managed-by"
_MANAGED = "orca"
Document = dict[str, Any]


def document(account_id: str, role: str = PROVISIONER) -> Document:
    """The IAM policy of ``role`` in the account with these twelve digits."""
    iam, ec2 = f"arn:aws:iam::{account_id}", f"arn:aws:ec2:*:{account_id}"
    roles, profiles = f"{iam}:role/orca-0*", f"{iam}:instance-profile/orca-0*"
    bounded = {"StringEquals": {"iam:PermissionsBoundary": boundary_arn(account_id, role)}}
    wanted, own = ({"StringEquals": {f"aws:{kind}Tag/{TAG}": _MANAGED}} for kind in ("Request", "Resource"))
    created = {"StringEquals": {"ec2:CreateAction": ["RunInstances", *_GROUP_MAKING, *_RULE_MAKING]}}
    return _policy(
        _allow("WorkspaceBuckets", ["s3:*"], ["arn:aws:s3:::orca-0*"]),
        _others_data(account_id),
        _allow("WorkspaceQueues", ["sqs:*"], [f"arn:aws:sqs:*:{account_id}:orca-0*"]),
        _allow("WorkspaceSecrets", _SECRET_ACTIONS, [f"arn:aws:secretsmanager:*:{account_id}:secret:orca/0*"]),
        _allow("WorkspaceImages", ["ecr:*"], [f"arn:aws:ecr:*:{account_id}:repository/orca-0*"]),
        _allow("WorkspaceRoles", _ROLE_ACTIONS, [roles, profiles]),
        _allow("WorkspaceRolesWithinBoundary", _BOUNDED_ACTIONS, [roles], bounded),
        _allow("RolesOfMachines", ["iam:PassRole"], [roles], {"StringEquals": {"iam:PassedToService": _EC2}}),
        _allow("Images", ["ssm:GetParameter", "ssm:GetParameters"], ["arn:aws:ssm:*:*:parameter/aws/service/*"]),
        _allow("Look", [*_MEASURED, "ec2:Describe*", "sts:GetCallerIdentity"], ["*"]),
        _allow("NewMachines", ["ec2:RunInstances"], [f"{ec2}:instance/*"], wanted),
        _allow("PartsOfMachines", ["ec2:RunInstances"], _parts(ec2)),
        _allow("OwnMachines", _MACHINE_ACTIONS, [f"{ec2}:instance/*", f"{ec2}:volume/*"], own),
        _allow("NewSecurityGroups", ["ec2:CreateSecurityGroup"], [f"{ec2}:security-group/*"], wanted),
        _allow("NetworkOfSecurityGroups", ["ec2:CreateSecurityGroup"], [f"{ec2}:vpc/*"]),
        _allow("OwnSecurityGroups", _GROUP_ACTIONS, [f"{ec2}:security-group/*"], own),
        _allow("RulesOfSecurityGroups", _GROUP_ACTIONS, [f"{ec2}:security-group-rule/*"]),
        _allow("TagsOfWhatIsMade", ["ec2:CreateTags"], [f"{ec2}:*/*"], created),
        # A rule that was made just before its maker was killed may bear no tag yet when it is taken over.
        _allow("TagsOfParts", ["ec2:CreateTags"], [f"{ec2}:volume/*", f"{ec2}:security-group-rule/*"], wanted),
        _allow("TagsOfOwn", ["ec2:CreateTags", "ec2:DeleteTags"], [f"{ec2}:*/*"], own),
        _allow("CheckItself", ["iam:SimulatePrincipalPolicy"], [f"{iam}:role/{role}"]),
        _allow("CheckBoundary", ["iam:GetPolicy"], [boundary_arn(account_id, role)]),
    )


def others_data(account_id: str) -> Document:
    """What a session may do that reads for a job in buckets outside the account, and nothing besides: with it the role
    cannot be led to look into a bucket of Orca's or of another workspace, whatever address the job names."""
    return _policy(_others_data(account_id))


def boundary(account_id: str) -> Document:
    """The most that any role of a workspace may do, whatever its own policy says."""
    return _policy(
        _allow("WorkspaceBuckets", ["s3:*"], ["arn:aws:s3:::orca-0*"]),
        _allow("AgentOfPlatform", ["s3:GetObject"], ["arn:aws:s3:::orca-platform-*/agents/*"]),
        _allow("WorkspaceQueues", ["sqs:*"], [f"arn:aws:sqs:*:{account_id}:orca-0*"]),
        _allow("EventsOfPlatform", ["sqs:SendMessage"], ["arn:aws:sqs:*:*:orca-events"]),
        _allow(
            "WorkspaceSecrets",
            ["secretsmanager:GetSecretValue"],
            [f"arn:aws:secretsmanager:*:{account_id}:secret:orca/0*"],
        ),
        _allow("WorkspaceImages", ["ecr:*"], [f"arn:aws:ecr:*:{account_id}:repository/orca-0*"]),
        _allow("EnterRegistry", ["ecr:GetAuthorizationToken"], ["*"]),
    )


def boundary_arn(account_id: str, role: str = PROVISIONER) -> str:
    """The ARN of the boundary that belongs to ``role``."""
    return f"arn:aws:iam::{account_id}:policy/{role}-boundary"


def _policy(*statements: Document) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(sid: str, actions: list[str], resources: list[str], condition: Document | None = None) -> Document:
    found: Document = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
    return found if condition is None else {**found, "Condition": condition}


def _others_data(account_id: str) -> Document:
    """Reading data in other accounts, where the bucket's owner lets this account: S3 tells IAM the owner's digits."""
    outside = {"StringNotEquals": {"aws:ResourceAccount": account_id}}
    return _allow("DataOfOthers", ["s3:GetObject", "s3:ListBucket"], ["arn:aws:s3:::*"], outside)


def _parts(ec2: str) -> list[str]:
    """What RunInstances needs besides the instance: found in the account, or made with it and gone with it."""
    of_account = ("network-interface", "security-group", "subnet", "volume")
    return ["arn:aws:ec2:*::image/*", "arn:aws:ec2:*::snapshot/*", *(f"{ec2}:{kind}/*" for kind in of_account)]


_EC2 = "ec2.amazonaws.com"
_GROUP_MAKING = ["CreateSecurityGroup"]
_RULE_MAKING = ["AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress"]

_MEASURED = ["cloudwatch:GetMetricData", "cloudwatch:GetMetricStatistics"]

_SECRET_ACTIONS = [
    f"secretsmanager:{name}" for name in ("CreateSecret", "PutSecretValue", "DeleteSecret", "TagResource")
]

_BOUNDED_ACTIONS = ["iam:CreateRole", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary"]

_ROLE_ACTIONS = [
    f"iam:{name}"
    for name in (
        "GetRole",
        "DeleteRole",
        "TagRole",
        "UntagRole",
        "UpdateRole",
        "UpdateRoleDescription",
        "UpdateAssumeRolePolicy",
        "GetRolePolicy",
        "DeleteRolePolicy",
        "ListRolePolicies",
        "ListAttachedRolePolicies",
        "CreateInstanceProfile",
        "GetInstanceProfile",
        "DeleteInstanceProfile",
        "TagInstanceProfile",
        "UntagInstanceProfile",
        "AddRoleToInstanceProfile",
        "RemoveRoleFromInstanceProfile",
        "ListInstanceProfilesForRole",
    )
]

_MACHINE_ACTIONS = [
    f"ec2:{name}"
    for name in (
        "StartInstances",
        "StopInstances",
        "RebootInstances",
        "TerminateInstances",
        "ModifyInstanceAttribute",
        "ModifyInstanceCreditSpecification",
        "ModifyInstanceMetadataOptions",
        "MonitorInstances",
        "UnmonitorInstances",
        "AssociateIamInstanceProfile",
        "ReplaceIamInstanceProfileAssociation",
        "GetConsoleOutput",
        "ModifyVolume",
    )
]

_GROUP_ACTIONS = [
    f"ec2:{name}"
    for name in (
        "DeleteSecurityGroup",
        *_RULE_MAKING,
        "RevokeSecurityGroupIngress",
        "RevokeSecurityGroupEgress",
        "UpdateSecurityGroupRuleDescriptionsIngress",
        "UpdateSecurityGroupRuleDescriptionsEgress",
        "ModifySecurityGroupRules",
    )
]


def module_files() -> dict[str, str]:
    """What ``terraform/envs/link`` reads, by file name; Terraform puts the account and the role in."""
    account, role = "${account_id}", "${role_name}"
    return {
        "permissions.json.tftpl": json.dumps(document(account, role), indent=2) + "\n",
        "boundary.json.tftpl": json.dumps(boundary(account), indent=2) + "\n",
    }


if __name__ == "__main__":
    for name, text in module_files().items():
        (Path(sys.argv[1]) / name).write_text(text)
