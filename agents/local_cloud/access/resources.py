"""Which resources a call to a service other than S3 is about: their ARNs, owners, policies and tags.

Services that are not listed here are authorized on ``*``: a policy for them has to name ``*`` as its resource.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from moto.ec2.models import ec2_backends
from moto.sqs.models import Queue, sqs_backends

from agents.local_cloud.access.callers import iam
from agents.local_cloud.accounts import PARTITION


@dataclass(frozen=True)
class Target:
    """What a call is about. ``context`` holds condition keys by ARN; ``policy`` the resource's own policy."""

    arns: list[str]
    context: Mapping[str, dict[str, list[str]]] = field(default_factory=dict)
    request_context: Mapping[str, list[str]] = field(default_factory=dict)
    policy: str | None = None
    account_id: str | None = None


def resource_of(service: str, action: str, response: Any, *, fallback: str) -> Target:
    """The target of one parsed call; ``response`` is moto's response object for it."""
    finder = _FINDERS.get(service)
    return finder(action, response) if finder else Target([fallback])


def queue_of(url_or_name: str, account_id: str, region: str) -> tuple[str, str]:
    """Account and name of the queue that a QueueUrl (or a bare name) means."""
    parts = [part for part in urlsplit(url_or_name).path.split("/") if part]
    if len(parts) >= 2 and parts[-2].isdigit() and len(parts[-2]) == 12:
        return parts[-2], parts[-1]
    return account_id, parts[-1] if parts else ""


def find_queue(account_id: str, region: str, name: str) -> Queue | None:
    """A queue of any account, or None."""
    if account_id not in sqs_backends:
        return None
    return sqs_backends[account_id][region].queues.get(name)


def _sqs(action: str, response: Any) -> Target:
    account, region = response.current_account, response.region
    if action == "ListQueues":
        return Target([f"arn:aws:sqs:{region}:{account}:*"])
    if action in ("CreateQueue", "GetQueueUrl"):
        name = response._get_param("QueueName") or ""
        account = response._get_param("QueueOwnerAWSAccountId") or account
    else:
        account, name = queue_of(response._get_param("QueueUrl") or response.path, account, region)
    queue = find_queue(account, region, name)
    return Target(
        [f"arn:aws:sqs:{region}:{account}:{name}"],
        policy=queue.policy if queue else None,
        account_id=account,
    )


def _parameters(response: Any) -> Mapping[str, str]:
    return {name: values[0] for name, values in response.querystring.items() if values}


def _iam(action: str, response: Any) -> Target:
    given = _parameters(response)
    account = response.current_account
    if arn := given.get("PolicyArn"):
        owner = _named(account, given)
        return Target([owner] if owner else [arn], request_context={"iam:policyarn": [arn]})
    if arn := given.get("PolicySourceArn"):
        return Target([arn])
    return Target([_named(account, given) or "*"], request_context=_boundary(account, given))


def _boundary(account: str, given: Mapping[str, str]) -> dict[str, list[str]]:
    """``iam:PermissionsBoundary``: the one that is given to a role, else the one that it has (IAM's condition keys)."""
    arn = given.get("PermissionsBoundary")
    if not arn and (name := given.get("RoleName")):
        arn = next((role.permissions_boundary_arn for role in iam(account).roles.values() if role.name == name), None)
    return {"iam:permissionsboundary": [arn]} if arn else {}


_IAM_NAMES = {
    "InstanceProfileName": "instance-profile",
    "RoleName": "role",
    "UserName": "user",
    "GroupName": "group",
    "PolicyName": "policy",
}


def _named(account: str, given: Mapping[str, str]) -> str | None:
    """The ARN of the first thing that the parameters name. The instance profile comes before the role in it."""
    for parameter, kind in _IAM_NAMES.items():
        name = given.get(parameter)
        if not name:
            continue
        if kind == "role":
            known = next((role for role in iam(account).roles.values() if role.name == name), None)
            if known is not None:
                return str(known.arn)
        return f"arn:aws:iam::{account}:{kind}{given.get('Path', '/')}{name}"
    return None


_EC2_PARAMETERS = {
    "InstanceId": "instance",
    "VolumeId": "volume",
    "GroupId": "security-group",
    "ResourceId": "*",
    "NetworkInterfaceId": "network-interface",
    "SubnetId": "subnet",
    "VpcId": "vpc",
    "ImageId": "image",
    "LaunchTemplateId": "launch-template",
    "KeyName": "key-pair",
}


def _ec2(action: str, response: Any) -> Target:
    request_tags = _request_tags(response.querystring)
    if action.startswith(("Describe", "Get")) and action != "GetConsoleOutput":
        return Target(["*"])
    account, region = response.current_account, response.region
    prefix = f"arn:aws:ec2:{region}:{account}:"
    if action == "RunInstances":
        return Target([f"{prefix}instance/*"], request_context=request_tags)
    if action.startswith("Create") and action != "CreateTags":
        kind = "".join("-" + c.lower() if c.isupper() else c for c in action.removeprefix("Create")).lstrip("-")
        return Target([f"{prefix}{kind}/*"], request_context=request_tags)
    arns: list[str] = []
    context: dict[str, dict[str, list[str]]] = {}
    for name, values in response.querystring.items():
        kind_of = _EC2_PARAMETERS.get(name.split(".", 1)[0])
        if kind_of is None or not values:
            continue
        kind = _kind_by_prefix(values[0]) if kind_of == "*" else kind_of
        arn = f"{prefix}{kind}/{values[0]}"
        arns.append(arn)
        context[arn] = _resource_tags(account, region, values[0])
    return Target(arns or ["*"], context=context, request_context=request_tags)


def _kind_by_prefix(resource_id: str) -> str:
    prefixes = {
        "i": "instance",
        "vol": "volume",
        "sg": "security-group",
        "sgr": "security-group-rule",
        "eni": "network-interface",
    }
    return prefixes.get(resource_id.split("-", 1)[0], "*")


def _resource_tags(account: str, region: str, resource_id: str) -> dict[str, list[str]]:
    tags = ec2_backends[account][region].describe_tags(filters={"resource-id": [resource_id]})
    keys: dict[str, list[str]] = {}
    for tag in tags:
        keys[f"aws:resourcetag/{tag['key']}".lower()] = [tag["value"]]
        keys[f"ec2:resourcetag/{tag['key']}".lower()] = [tag["value"]]
    return keys


def _request_tags(querystring: Mapping[str, list[str]]) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = {}
    for name, values in querystring.items():
        if ".Tag." in f".{name}" and name.endswith(".Key"):
            value = querystring.get(name.removesuffix("Key") + "Value", [""])[0]
            keys[f"aws:requesttag/{values[0]}".lower()] = [value]
            keys.setdefault("aws:tagkeys", []).append(values[0])
    return keys


def _json(response: Any) -> Mapping[str, Any]:
    if isinstance(response.body, dict):
        return response.body
    try:
        parsed = json.loads(response.body or "{}")
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _ssm(action: str, response: Any) -> Target:
    given = _json(response)
    names = given.get("Names") or [given.get("Name") or given.get("Path")]
    prefix = f"arn:aws:ssm:{response.region}:{response.current_account}:parameter/"
    arns = [str(name) if str(name).startswith("arn:") else prefix + str(name).lstrip("/") for name in names if name]
    return Target(arns or ["*"])


def _logs(action: str, response: Any) -> Target:
    given = _json(response)
    prefix = f"arn:aws:logs:{response.region}:{response.current_account}:log-group:"
    group, stream = given.get("logGroupName"), given.get("logStreamName")
    if not group:
        return Target(["*"])
    return Target([f"{prefix}{group}:log-stream:{stream}" if stream else f"{prefix}{group}"])


def _dynamodb(action: str, response: Any) -> Target:
    table = _json(response).get("TableName")
    if not table:
        return Target(["*"])
    prefix = f"arn:aws:dynamodb:{response.region}:{response.current_account}:table/"
    return Target([table if str(table).startswith("arn:") else prefix + str(table)])


def _secretsmanager(action: str, response: Any) -> Target:
    given = _json(response)
    name = given.get("SecretId") or given.get("Name")
    if not name:
        return Target(["*"])
    prefix = f"arn:{PARTITION}:secretsmanager:{response.region}:{response.current_account}:secret:"
    return Target([name if str(name).startswith("arn:") else f"{prefix}{name}-000000"])


def _ecr(action: str, response: Any) -> Target:
    given = _json(response)
    names = [given["repositoryName"]] if given.get("repositoryName") else given.get("repositoryNames") or []
    prefix = f"arn:{PARTITION}:ecr:{response.region}:{response.current_account}:repository/"
    return Target(
        [given["resourceArn"]] if given.get("resourceArn") else [f"{prefix}{name}" for name in names] or ["*"]
    )


_FINDERS: dict[str, Callable[[str, Any], Target]] = {
    "sqs": _sqs,
    "iam": _iam,
    "ec2": _ec2,
    "ssm": _ssm,
    "logs": _logs,
    "dynamodb": _dynamodb,
    "secretsmanager": _secretsmanager,
    "ecr": _ecr,
}
