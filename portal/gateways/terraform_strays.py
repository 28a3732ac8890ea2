"""Finds what an interrupted apply made and could not write down any more.

Terraform saves its state every 20 seconds at most while it works. What it made in the seconds before it was killed is
in the cloud but not in the state: the next apply would refuse to make the role a second time, and would start a second
instance. Everything of a workspace is called after it, so that it can be found and taken over.

Here are the names and addresses that ``terraform/envs/workspace`` gives; only of those things that cannot simply be
made once more.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import ClientError

from portal.gateways.terraform_state import CONFIG, session_from, translated

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef

_SETTINGS = "control/agent.json"
_LIVE = ("pending", "running", "stopping", "stopped")
_NUMBERED = re.compile(r'ingress_rule\.ssh\["(?P<network>.+)"\]$|aws_instance\.this\[(?P<number>\d+)\]$')


@dataclass(frozen=True)
class Stray:
    """A thing in the cloud, the address at which the configuration wants it, and its id for ``terraform import``."""

    address: str
    identity: str


def strays_find(
    variables: Mapping[str, object], known: Collection[str], *, environment: Mapping[str, str]
) -> list[Stray]:
    """What is there of the workspace that ``variables`` describe and is not among the ``known`` addresses."""
    with translated("look for what an interrupted run left behind"):
        cloud = _Cloud(variables, environment)
        return [stray for stray in _all(cloud) if stray.address not in known]


def variables_covering(strays: Collection[Stray], variables: Mapping[str, object]) -> dict[str, object]:
    """``variables`` widened so that the configuration has a place for each of ``strays``.

    A wish may have changed since the interrupted apply: what is too much is then taken away by the next plan.
    """
    found = [match for stray in strays if (match := _NUMBERED.search(stray.address))]
    networks = {match["network"] for match in found if match["network"]}
    count = max((int(match["number"]) + 1 for match in found if match["number"]), default=0)
    wanted: Any = variables.get("ssh_cidrs") or []
    least: Any = variables.get("instance_count", 1)
    return {
        **variables,
        "data_only": False,
        "ssh_cidrs": sorted({*wanted, *networks}),
        "instance_count": max(count, least),
    }


class _Cloud:
    def __init__(self, variables: Mapping[str, object], environment: Mapping[str, str]) -> None:
        self.workspace = str(variables["workspace_id"])
        self.name = f"orca-{self.workspace}"
        self._region = str(variables["region"])
        self._path_style = bool(variables.get("s3_use_path_style"))
        self._endpoint = environment.get("AWS_ENDPOINT_URL")
        self._session = session_from(environment, self._region)
        if role := str(variables.get("provisioner_role_arn") or ""):
            external = str(variables.get("provisioner_external_id") or "")
            self._session = session_from(self._assumed(role, external), self._region)

    def _assumed(self, role: str, external: str) -> dict[str, str]:
        given: dict[str, Any] = {"RoleArn": role, "RoleSessionName": self.name}
        if external:
            given["ExternalId"] = external
        found = self.client("sts").assume_role(**given)["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": found["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": found["SecretAccessKey"],
            "AWS_SESSION_TOKEN": found["SessionToken"],
        }

    def client(self, service: str) -> Any:
        untyped: Any = self._session
        style = Config(s3={"addressing_style": "path" if self._path_style else "auto"})
        return untyped.client(service, endpoint_url=self._endpoint, config=CONFIG.merge(style))


def _all(cloud: _Cloud) -> Iterator[Stray]:
    yield from _bucket(cloud)
    yield from _roles(cloud)
    yield from _network(cloud)


def _bucket(cloud: _Cloud) -> Iterator[Stray]:
    s3 = cloud.client("s3")
    if not _there(lambda: s3.head_bucket(Bucket=cloud.name)):
        return
    yield Stray("module.storage.aws_s3_bucket.this", cloud.name)
    # A bucket that still holds it cannot be destroyed.
    if _there(lambda: s3.head_object(Bucket=cloud.name, Key=_SETTINGS)):
        yield Stray("module.storage.aws_s3_object.agent_settings[0]", f"{cloud.name}/{_SETTINGS}")


def _roles(cloud: _Cloud) -> Iterator[Stray]:
    iam = cloud.client("iam")
    for name in ("instance", "user"):
        if _there(lambda name=name: iam.get_role(RoleName=f"{cloud.name}-{name}")):
            yield Stray(f"module.identity[0].aws_iam_role.{name}", f"{cloud.name}-{name}")
    profile = f"{cloud.name}-instance"
    if _there(lambda: iam.get_instance_profile(InstanceProfileName=profile)):
        yield Stray("module.identity[0].aws_iam_instance_profile.instance", profile)


def _network(cloud: _Cloud) -> Iterator[Stray]:
    ec2: EC2Client = cloud.client("ec2")
    for group in ec2.describe_security_groups(Filters=[_filter("group-name", cloud.name)])["SecurityGroups"][:1]:
        yield Stray("module.compute[0].aws_security_group.this", group["GroupId"])
        yield from _rules(ec2, group["GroupId"])
    yield from _instances(ec2, cloud)


def _rules(ec2: EC2Client, group: str) -> Iterator[Stray]:
    for rule in ec2.describe_security_group_rules(Filters=[_filter("group-id", group)])["SecurityGroupRules"]:
        network = rule.get("CidrIpv4") or rule.get("CidrIpv6")
        if rule.get("IsEgress") and network in {"0.0.0.0/0", "::/0"}:
            kind = "egress_rule.all"
        elif not rule.get("IsEgress") and network and rule.get("FromPort") == 22:
            kind = "ingress_rule.ssh"
        else:
            continue
        yield Stray(f'module.compute[0].aws_vpc_security_group_{kind}["{network}"]', rule["SecurityGroupRuleId"])


def _instances(ec2: EC2Client, cloud: _Cloud) -> Iterator[Stray]:
    filters = [_filter("tag:orca:workspace", cloud.workspace), _filter("instance-state-name", *_LIVE)]
    taken = set()
    found = [i for group in ec2.describe_instances(Filters=filters)["Reservations"] for i in group["Instances"]]
    for instance in sorted(found, key=lambda instance: instance["LaunchTime"]):
        names = [tag["Value"] for tag in instance.get("Tags", []) if tag["Key"] == "Name"]
        number = names[0].removeprefix(f"{cloud.name}-") if names else ""
        if number.isdigit() and number not in taken:
            taken.add(number)
            yield Stray(f"module.compute[0].aws_instance.this[{int(number) - 1}]", instance["InstanceId"])


def _filter(name: str, *values: str) -> FilterTypeDef:
    return {"Name": name, "Values": values}


def _there(look: Any) -> bool:
    try:
        look()
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
            return False
        raise
    return True
