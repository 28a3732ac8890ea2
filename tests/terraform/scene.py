"""Terraform on the local cloud: what tests of modules and of the gateway need before they can begin."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import tarfile
import threading
from pathlib import Path
from typing import Any

from portal.core.ids import new_id
from portal.gateways import provisioner_policy
from portal.gateways.terraform import PlanResult, TerraformEvent, TerraformSettings, TerraformWorkspace
from portal.gateways.terraform_mirror import mirror_set_up
from tests import environment
from tests.fixtures.cloud import ACCOUNTS, REGION, REPOSITORY, Cloud

ACCOUNT = ACCOUNTS["platform"]
STATE_BUCKET, PLATFORM_BUCKET = f"orca-state-{ACCOUNT}", f"orca-platform-{ACCOUNT}"
PROVISIONER, EXTERNAL_ID = f"arn:aws:iam::{ACCOUNT}:role/orca-provisioner", "of-the-provisioner"
USER_EXTERNAL_ID = "of-the-person"
SIGNING_KEY = "5ec4e7" * 10 + "5ec4"
TERRAFORM = REPOSITORY / "terraform"


@functools.cache
def cli_config() -> Path:
    """The configuration that Terraform's tests run with, made once for the session."""
    out = Path(environment.HOME) / "terraform"
    mirror_set_up(out, program=program(), environment=os.environ)
    return out / "terraform.rc"


def program() -> str:
    """The Terraform that is tested."""
    return os.environ.get("ORCA_TERRAFORM", "terraform")


def archive_make(install: str) -> tuple[bytes, str]:
    """An agent's archive that holds nothing but an ``install`` script; its content and SHA-256."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        entry = tarfile.TarInfo("install")
        entry.mode, entry.size = 0o755, len(install.encode())
        archive.addfile(entry, io.BytesIO(install.encode()))
    return held.getvalue(), hashlib.sha256(held.getvalue()).hexdigest()


class Scene:
    """An account that is ready for workspaces: Orca's buckets, its events queue and the role that builds."""

    def __init__(self, cloud: Cloud, *, install: str = "#!/bin/sh\nexec sleep 86400\n") -> None:
        self.cloud = cloud
        self.archive, self.sha256 = archive_make(install)
        self.agent = {"bucket": PLATFORM_BUCKET, "key": f"agents/{self.sha256}.tar.gz", "sha256": self.sha256}
        self._buckets()
        self.events_queue = cloud.client("sqs").create_queue(QueueName="orca-events")["QueueUrl"]
        self._role()

    def _buckets(self) -> None:
        s3 = self.cloud.client("s3")
        there = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
        for name in {STATE_BUCKET, PLATFORM_BUCKET} - there:
            s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})

    def _role(self) -> None:
        iam = self.cloud.client("iam")
        principal = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
        condition = {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}}
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal, "Condition": condition}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        if "orca-provisioner" not in {role["RoleName"] for role in iam.list_roles()["Roles"]}:
            iam.create_role(RoleName="orca-provisioner", AssumeRolePolicyDocument=document)
        iam.put_role_policy(
            RoleName="orca-provisioner",
            PolicyName="workspaces",
            PolicyDocument=json.dumps(provisioner_policy.document(ACCOUNT)),
        )
        known = {policy["PolicyName"] for policy in iam.list_policies(Scope="Local")["Policies"]}
        if "orca-provisioner-boundary" not in known:
            iam.create_policy(
                PolicyName="orca-provisioner-boundary",
                PolicyDocument=json.dumps(provisioner_policy.boundary(ACCOUNT)),
            )

    def agent_publish(self, content: bytes | None = None) -> None:
        """Put the agent's archive where instances look for it, or something else in its place."""
        body = self.archive if content is None else content
        self.cloud.client("s3").put_object(Bucket=PLATFORM_BUCKET, Key=self.agent["key"], Body=body)

    def settings(self, **environment_: str) -> TerraformSettings:
        """How to run Terraform here; ``environment_`` replaces variables."""
        return TerraformSettings(
            binary=program(),
            cli_config=cli_config(),
            root=TERRAFORM / "envs" / "workspace",
            data_root=Path(environment.HOME) / "terraform" / "data",
            state_bucket=STATE_BUCKET,
            region=REGION,
            environment={**os.environ, **self.cloud.environment(), **environment_},
            path_style=True,
        )

    def variables(self, workspace: str, **more: object) -> dict[str, object]:
        """What the root module is told, with ``more`` in place of it."""
        return {
            "workspace_id": workspace,
            "region": REGION,
            "s3_use_path_style": True,
            "provisioner_role_arn": PROVISIONER,
            "provisioner_external_id": EXTERNAL_ID,
            "permissions_boundary_arn": provisioner_policy.boundary_arn(ACCOUNT),
            "user_principal_arn": f"arn:aws:iam::{ACCOUNT}:root",
            "user_external_id": USER_EXTERNAL_ID,
            "instance_type": "t3.small",
            "volume_gb": 20,
            "slots": 2,
            "agent": self.agent,
            "events_queue_url": self.events_queue,
            "events_queue_arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:orca-events",
            "signing_key": SIGNING_KEY,
            "ssh_cidrs": ["127.0.0.0/8"],
            **more,
        }

    def run(self, name: str | None = None, **environment_: str) -> Run:
        """Terraform for a workspace, a new one if it is not named."""
        return Run(self, name or new_id(), self.settings(**environment_))


class Run:
    """One workspace's Terraform, with all that it said."""

    def __init__(self, scene: Scene, name: str, settings: TerraformSettings) -> None:
        self.scene, self.name = scene, name
        self.events: list[TerraformEvent] = []
        self.cancelled = threading.Event()
        self.awaited: dict[tuple[str, str], threading.Event] = {}
        self.terraform = TerraformWorkspace(settings, name, on_event=self._hear, cancelled=self.cancelled)
        self.plan_file = settings.data_root / name / "x.tfplan"

    def _hear(self, event: TerraformEvent) -> None:
        self.events.append(event)
        for (kind, part), seen in self.awaited.items():
            if event.kind == kind and part in (event.address or ""):
                seen.set()

    def seen(self, kind: str, part: str) -> threading.Event:
        """Set when an event of this kind is about an address with ``part`` in it."""
        return self.awaited.setdefault((kind, part), threading.Event())

    def plan(self, *, destroy: bool = False, **variables: Any) -> PlanResult:
        """Plan with the scene's variables."""
        return self.terraform.plan(self.scene.variables(self.name, **variables), out=self.plan_file, destroy=destroy)

    def build(self, **variables: Any) -> dict[str, Any]:
        """Plan and apply; the outputs."""
        self.plan(**variables)
        self.terraform.apply(self.plan_file)
        return self.terraform.outputs()

    def role(self, arn: str, external_id: str) -> dict[str, str]:
        """Temporary keys of a role, as ``client_with`` takes them."""
        found = self.scene.cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="test", ExternalId=external_id)[
            "Credentials"
        ]
        return {"key": found["AccessKeyId"], "secret": found["SecretAccessKey"], "token": found["SessionToken"]}
