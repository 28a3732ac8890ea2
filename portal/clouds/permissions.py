"""What building and running a workspace takes, in groups that a person can make sense of.

Each need is asked of IAM as it will come: these actions, on something of a workspace's, with the condition keys that
Terraform and the portal bring along. ``portal/gateways/provisioner_policy.py`` grants them; a test holds both together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from portal.gateways import provisioner_policy
from portal.gateways.provisioner_policy import TAG

# Stands for any workspace: a ULID of the year 1970.
SAMPLE = "0" * 26
REGISTRY = "registry"
# Whose buckets those are: anybody's but the account's own.
_OTHERS = {"aws:ResourceAccount": "0" * 12}


@dataclass(frozen=True)
class Need:
    """Actions on resources, together with the condition keys that come with them."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """Needs that belong together, under a title for people."""

    key: str
    title: str
    needs: tuple[Need, ...]
    without: str = ""
    """What is lost without it, where Orca can do without it; else ""."""


def groups(account_id: str, region: str, role: str) -> tuple[Group, ...]:
    """All of them, for the account with these twelve digits and the role with this name."""
    name = f"orca-{SAMPLE}"
    iam, ec2 = f"arn:aws:iam::{account_id}", f"arn:aws:ec2:{region}:{account_id}"
    tagged, tagging = {f"aws:ResourceTag/{TAG}": "orca"}, {f"aws:RequestTag/{TAG}": "orca"}
    bounded = {"iam:PermissionsBoundary": provisioner_policy.boundary_arn(account_id, role)}
    return (
        Group(
            "buckets",
            "Buckets",
            (
                Need(_named("s3", _BUCKET), (f"arn:aws:s3:::{name}",)),
                Need(_named("s3", _OBJECT), (f"arn:aws:s3:::{name}/control/desired.json",)),
            ),
        ),
        Group(
            "others_data",
            "Data in other people's buckets",
            (
                Need(("s3:GetObject",), ("arn:aws:s3:::somebody-elses/scene.tif",), _OTHERS),
                Need(("s3:ListBucket",), ("arn:aws:s3:::somebody-elses",), _OTHERS),
            ),
            without="Jobs cannot read buckets whose requester pays; all else works.",
        ),
        Group(
            "queues",
            "Queues",
            (Need(_named("sqs", _QUEUE), (f"arn:aws:sqs:{region}:{account_id}:{name}-tasks.fifo",)),),
        ),
        Group(
            "secrets",
            "Secrets",
            (
                Need(
                    _named("secretsmanager", _SECRET),
                    (f"arn:aws:secretsmanager:{region}:{account_id}:secret:orca/{SAMPLE}/NAME-000000",),
                ),
            ),
        ),
        Group(
            "roles",
            "Roles within the boundary",
            (
                Need(("iam:CreateRole", "iam:PutRolePolicy"), (f"{iam}:role/{name}-instance",), bounded),
                Need(_named("iam", _ROLE), (f"{iam}:role/{name}-instance",)),
                Need(_named("iam", _PROFILE), (f"{iam}:instance-profile/{name}-instance",)),
                Need(
                    ("iam:PassRole",),
                    (f"{iam}:role/{name}-instance",),
                    {"iam:PassedToService": "ec2.amazonaws.com"},
                ),
            ),
        ),
        Group(
            "machines",
            "Machines",
            (
                Need(_named("ec2", _LOOK), ("*",)),
                Need(("ec2:RunInstances",), (f"{ec2}:instance/*",), tagging),
                Need(
                    ("ec2:RunInstances",),
                    (
                        f"arn:aws:ec2:{region}::image/ami-00000000000000000",
                        *(f"{ec2}:{part}/*" for part in ("network-interface", "security-group", "subnet", "volume")),
                    ),
                ),
                Need(_named("ec2", _MACHINE), (f"{ec2}:instance/i-00000000000000000",), tagged),
                Need(("ec2:ModifyVolume",), (f"{ec2}:volume/vol-00000000000000000",), tagged),
                Need(("ec2:CreateTags",), (f"{ec2}:instance/*",), {"ec2:CreateAction": "RunInstances"}),
                Need(("ec2:CreateTags",), (f"{ec2}:volume/*",), tagging),
            ),
        ),
        Group(
            "security_groups",
            "Security groups",
            (
                Need(("ec2:CreateSecurityGroup",), (f"{ec2}:security-group/*",), tagging),
                Need(("ec2:CreateSecurityGroup",), (f"{ec2}:vpc/vpc-00000000000000000",)),
                Need(_named("ec2", _GROUP), (f"{ec2}:security-group/sg-00000000000000000",), tagged),
            ),
        ),
        Group(
            "measured",
            "What is used, as AWS counts it",
            (Need(("cloudwatch:GetMetricData", "cloudwatch:GetMetricStatistics"), ("*",)),),
            without="What buckets hold, what is downloaded there and asked of them is not counted; all else works.",
        ),
        Group(
            "images",
            "Machine images",
            (Need(("ssm:GetParameter",), (f"arn:aws:ssm:{region}::parameter/aws/service/ami-amazon-linux-latest/x",)),),
        ),
        Group(
            REGISTRY,
            "Container images",
            (Need(_named("ecr", _REPOSITORY), (f"arn:aws:ecr:{region}:{account_id}:repository/{name}",)),),
            without="Instances do not share the images that they build: each builds its own, and all else works.",
        ),
    )


def _named(service: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{service}:{name}" for name in names)


_BUCKET = (
    "CreateBucket",
    "DeleteBucket",
    "ListBucket",
    "ListBucketVersions",
    "GetBucketLocation",
    "GetBucketPolicy",
    "PutBucketPolicy",
    "GetBucketPublicAccessBlock",
    "PutBucketPublicAccessBlock",
    "GetEncryptionConfiguration",
    "PutEncryptionConfiguration",
    "GetBucketOwnershipControls",
    "PutBucketOwnershipControls",
    "GetBucketTagging",
    "PutBucketTagging",
    "GetMetricsConfiguration",
    "PutMetricsConfiguration",
)
_OBJECT = ("GetObject", "PutObject", "DeleteObject", "DeleteObjectVersion")
_QUEUE = (
    "CreateQueue",
    "DeleteQueue",
    "GetQueueUrl",
    "GetQueueAttributes",
    "SetQueueAttributes",
    "ListQueueTags",
    "TagQueue",
    "SendMessage",
    "ReceiveMessage",
    "DeleteMessage",
)
_REPOSITORY = (
    "CreateRepository",
    "DeleteRepository",
    "DescribeRepositories",
    "ListTagsForResource",
    "TagResource",
    "UntagResource",
    "PutImageTagMutability",
    "PutImageScanningConfiguration",
    "GetLifecyclePolicy",
    "PutLifecyclePolicy",
    "DeleteLifecyclePolicy",
)
_SECRET = ("CreateSecret", "PutSecretValue", "DeleteSecret", "TagResource")
_ROLE = (
    "GetRole",
    "DeleteRole",
    "TagRole",
    "UpdateAssumeRolePolicy",
    "GetRolePolicy",
    "DeleteRolePolicy",
    "ListRolePolicies",
    "ListAttachedRolePolicies",
    "ListInstanceProfilesForRole",
)
_PROFILE = (
    "CreateInstanceProfile",
    "GetInstanceProfile",
    "DeleteInstanceProfile",
    "TagInstanceProfile",
    "AddRoleToInstanceProfile",
    "RemoveRoleFromInstanceProfile",
)
_LOOK = ("DescribeInstances", "DescribeInstanceTypes", "DescribeImages", "DescribeVpcs", "DescribeSecurityGroups")
_MACHINE = (
    "StartInstances",
    "StopInstances",
    "RebootInstances",
    "TerminateInstances",
    "ModifyInstanceAttribute",
    "GetConsoleOutput",
)
_GROUP = (
    "AuthorizeSecurityGroupIngress",
    "AuthorizeSecurityGroupEgress",
    "RevokeSecurityGroupIngress",
    "RevokeSecurityGroupEgress",
    "DeleteSecurityGroup",
)
