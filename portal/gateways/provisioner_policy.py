"""What the role that builds workspaces may do, and nothing more.

Everything it makes is called ``orca-<workspace>``, and ``orca/<workspace>/…`` where it is a secret; a workspace's id is
a ULID, which starts with ``0`` until the year 3084, so that ``orca-0*`` covers every workspace and neither Orca's own
buckets nor its own queues. Secrets are written and deleted: what is in them the portal cannot read.
"""

from __future__ import annotations

from typing import Any


def document(account_id: str) -> dict[str, Any]:
    """The IAM policy for the account with these twelve digits."""
    roles = [f"arn:aws:iam::{account_id}:role/orca-0*", f"arn:aws:iam::{account_id}:instance-profile/orca-0*"]
    return {
        "Version": "2012-10-17",
        "Statement": [
            _allow("WorkspaceBuckets", ["s3:*"], ["arn:aws:s3:::orca-0*"]),
            _allow("WorkspaceQueues", ["sqs:*"], [f"arn:aws:sqs:*:{account_id}:orca-0*"]),
            _allow("WorkspaceSecrets", _SECRET_ACTIONS, [f"arn:aws:secretsmanager:*:{account_id}:secret:orca/0*"]),
            _allow("WorkspaceRoles", _ROLE_ACTIONS, roles),
            _allow(
                "Images",
                ["ssm:GetParameter", "ssm:GetParameters"],
                ["arn:aws:ssm:*:*:parameter/aws/service/*"],
            ),
            _allow("Machines", _MACHINE_ACTIONS, ["*"]),
            _allow("WhoAmI", ["sts:GetCallerIdentity"], ["*"]),
        ],
    }


def _allow(sid: str, actions: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}


_SECRET_ACTIONS = [
    "secretsmanager:CreateSecret",
    "secretsmanager:PutSecretValue",
    "secretsmanager:DeleteSecret",
    "secretsmanager:TagResource",
]

_ROLE_ACTIONS = [
    "iam:CreateRole",
    "iam:GetRole",
    "iam:DeleteRole",
    "iam:PassRole",
    "iam:TagRole",
    "iam:UntagRole",
    "iam:UpdateRole",
    "iam:UpdateRoleDescription",
    "iam:UpdateAssumeRolePolicy",
    "iam:PutRolePolicy",
    "iam:GetRolePolicy",
    "iam:DeleteRolePolicy",
    "iam:ListRolePolicies",
    "iam:ListAttachedRolePolicies",
    "iam:CreateInstanceProfile",
    "iam:GetInstanceProfile",
    "iam:DeleteInstanceProfile",
    "iam:TagInstanceProfile",
    "iam:UntagInstanceProfile",
    "iam:AddRoleToInstanceProfile",
    "iam:RemoveRoleFromInstanceProfile",
    "iam:ListInstanceProfilesForRole",
]

_MACHINE_ACTIONS = [
    "ec2:Describe*",
    "ec2:RunInstances",
    "ec2:StartInstances",
    "ec2:StopInstances",
    "ec2:RebootInstances",
    "ec2:TerminateInstances",
    "ec2:ModifyInstanceAttribute",
    "ec2:ModifyInstanceCreditSpecification",
    "ec2:ModifyInstanceMetadataOptions",
    "ec2:ModifyNetworkInterfaceAttribute",
    "ec2:MonitorInstances",
    "ec2:UnmonitorInstances",
    "ec2:AssociateIamInstanceProfile",
    "ec2:ReplaceIamInstanceProfileAssociation",
    "ec2:CreateTags",
    "ec2:DeleteTags",
    "ec2:CreateSecurityGroup",
    "ec2:DeleteSecurityGroup",
    "ec2:AuthorizeSecurityGroupIngress",
    "ec2:AuthorizeSecurityGroupEgress",
    "ec2:RevokeSecurityGroupIngress",
    "ec2:RevokeSecurityGroupEgress",
    "ec2:UpdateSecurityGroupRuleDescriptionsIngress",
    "ec2:UpdateSecurityGroupRuleDescriptionsEgress",
    "ec2:ModifySecurityGroupRules",
    "ec2:GetConsoleOutput",
    "ec2:ModifyVolume",
]
