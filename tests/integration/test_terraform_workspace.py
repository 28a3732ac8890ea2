"""A workspace from nothing to nothing: real Terraform, the real provider, IAM and instances of the local cloud.

Two are built at the same time, once for all tests here; the provider's waits for queues make that last a minute.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from portal.clouds import permissions
from portal.gateways import provisioner_policy
from portal.gateways.aws_metrics import WHOLE_BUCKET
from portal.gateways.terraform import TerraformError
from tests.fixtures.cloud import Cloud, measured, wait_until
from tests.terraform.scene import (
    ACCOUNT,
    PLATFORM_BUCKET,
    SIGNING_KEY,
    USER_EXTERNAL_ID,
    Run,
    Scene,
    cli_config,
    program,
)

pytestmark = [pytest.mark.terraform, pytest.mark.cloud]

#: Stands in for the agent: tries what an instance may and may not do, and says how each attempt ended.
INSTALL = r"""#!/bin/sh
echo "probe settings $(cat /etc/orca/agent.json)"
metadata=${AWS_EC2_METADATA_SERVICE_ENDPOINT%/}
token=$(curl -fsS -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$metadata/latest/api/token")
get() { curl -fsS -H "X-aws-ec2-metadata-token: $token" "$metadata/latest/meta-data/$1"; }
keys=$(get "iam/security-credentials/$(get iam/security-credentials/)")
field() { printf '%s' "$keys" | sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p"; }
bucket=$(sed -n 's/.*"bucket": "\([^"]*\)".*/\1/p' /etc/orca/agent.json)
try() {
  name=$1; shift
  code=$(curl -sS -o /dev/null -w '%{http_code}' --user "$(field AccessKeyId):$(field SecretAccessKey)" \
    -H "x-amz-security-token: $(field Token)" --aws-sigv4 "aws:amz:$AWS_REGION:s3" "$@")
  echo "probe $name $code"
}
until try settings "$AWS_ENDPOINT_URL/$bucket/control/agent.json" | grep -q 200; do sleep 0.2; done
try read-control "$AWS_ENDPOINT_URL/$bucket/control/agent.json"
try write-control -X PUT -d x "$AWS_ENDPOINT_URL/$bucket/control/desired.json"
try delete-control -X DELETE "$AWS_ENDPOINT_URL/$bucket/control/agent.json"
try write-own -X PUT -d x "$AWS_ENDPOINT_URL/$bucket/runs/1"
try read-agent "$AWS_ENDPOINT_URL/orca-platform-100000000001/agents/other"
try read-bundles "$AWS_ENDPOINT_URL/orca-platform-100000000001/bundles/other"
try write-agent -X PUT -d x "$AWS_ENDPOINT_URL/orca-platform-100000000001/agents/other"
try read-state "$AWS_ENDPOINT_URL/orca-state-100000000001/workspaces/other"
echo "probe done"
exec sleep 86400
"""


@dataclass
class Built:
    """Two workspaces and what came of them."""

    scene: Scene
    runs: list[Run]
    outputs: list[dict[str, Any]]
    errors: list[BaseException]

    @property
    def cloud(self) -> Cloud:
        return self.scene.cloud

    def console(self) -> str:
        """What the first instance has said."""
        ec2 = self.cloud.client("ec2")
        return str(ec2.get_console_output(InstanceId=self.outputs[0]["instance_ids"][0]).get("Output", ""))


def _only_what_the_check_asks_for(scene: Scene) -> None:
    """In the place of all that ECR can do with a workspace's repository."""
    groups = permissions.groups(ACCOUNT, "eu-central-1", "orca-provisioner")
    (group,) = (group for group in groups if group.key == permissions.REGISTRY)
    document = provisioner_policy.document(ACCOUNT)
    (statement,) = (statement for statement in document["Statement"] if statement["Sid"] == "WorkspaceImages")
    statement["Action"] = list(group.needs[0].actions)
    scene.cloud.client("iam").put_role_policy(
        RoleName="orca-provisioner", PolicyName="workspaces", PolicyDocument=json.dumps(document)
    )


@pytest.fixture(scope="module")
def built(local_cloud: Cloud) -> Iterator[Built]:
    """Two workspaces, built at once. What lies where the agent should is not the agent until the end."""
    scene = Scene(local_cloud, install=INSTALL)
    scene.agent_publish(b"not the archive that was promised")
    _only_what_the_check_asks_for(scene)
    runs: list[Run] = [scene.run(), scene.run()]
    outputs: list[dict[str, Any]] = [{}, {}]
    errors: list[BaseException] = []

    def build(index: int) -> None:
        try:
            outputs[index] = runs[index].build(registry=index == 1)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=build, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    yield Built(scene, runs, outputs, errors)


def test_two_are_built_at_once(built: Built) -> None:
    assert built.errors == []
    assert built.outputs[0]["bucket"] != built.outputs[1]["bucket"]


def test_outputs(built: Built) -> None:
    name, outputs = f"orca-{built.runs[0].name}", built.outputs[0]
    assert set(outputs) == {
        *("bucket", "bucket_arn", "tasks_queue_url", "tasks_queue_arn", "dead_queue_url"),
        *("instance_ids", "public_ips", "private_ips", "instance_role_arn", "user_role_arn"),
    }
    assert outputs["bucket"] == name
    assert outputs["tasks_queue_url"].endswith(f"/{name}-tasks.fifo")
    assert outputs["instance_role_arn"].endswith(f":role/{name}-instance")
    assert len(outputs["instance_ids"]) == len(outputs["public_ips"]) == 1


def test_one_of_them_has_a_repository_for_images(built: Built) -> None:
    ecr, name = built.cloud.client("ecr"), f"orca-{built.runs[1].name}"
    (found,) = ecr.describe_repositories()["repositories"]
    assert (found["repositoryName"], found["imageTagMutability"]) == (name, "IMMUTABLE")
    assert json.loads(ecr.get_lifecycle_policy(repositoryName=name)["lifecyclePolicyText"])["rules"]
    body = built.cloud.client("s3").get_object(Bucket=name, Key="control/agent.json")["Body"]
    assert json.loads(body.read())["registry"] == f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com/{name}"


def test_progress_was_told(built: Built) -> None:
    events = built.runs[0].events
    made = [event for event in events if event.kind == "apply_complete"]
    assert len(made) == len(built.runs[0].terraform.resources())
    assert all(event.address and event.elapsed_seconds is not None for event in made)


def test_the_signing_key_was_never_said(built: Built) -> None:
    assert not any(SIGNING_KEY in event.message for event in built.runs[0].events)


def test_the_instance_starts_long_before_the_queues_are_done(built: Built) -> None:
    when = {(event.kind, event.address): event.at for event in built.runs[0].events}
    first = min(event.at for event in built.runs[0].events if event.kind == "apply_start")
    instance = when["apply_start", "module.compute[0].aws_instance.this[0]"]
    queue = when["apply_complete", "module.queue[0].aws_sqs_queue.tasks"]
    assert (instance - first).total_seconds() < 5
    assert instance < queue


def test_everything_is_tagged(built: Built) -> None:
    name = built.runs[0].name
    found = built.cloud.client("ec2").describe_instances(InstanceIds=built.outputs[0]["instance_ids"])
    tags = {tag["Key"]: tag["Value"] for tag in found["Reservations"][0]["Instances"][0]["Tags"]}
    assert tags == {"Name": f"orca-{name}-1", "orca:workspace": name, "orca:managed-by": "orca"}
    found = built.cloud.client("s3").get_bucket_tagging(Bucket=f"orca-{name}")["TagSet"]
    assert {"Key": "orca:workspace", "Value": name} in found


def test_agents_find_their_settings(built: Built) -> None:
    body = built.cloud.client("s3").get_object(Bucket=built.outputs[0]["bucket"], Key="control/agent.json")["Body"]
    assert json.loads(body.read()) == {
        "version": 1,
        "workspace": built.runs[0].name,
        "region": "eu-central-1",
        "bucket": built.outputs[0]["bucket"],
        "tasks_queue": f"orca-{built.runs[0].name}-tasks.fifo",
        "events_queue_url": built.scene.events_queue,
        "signing_key": SIGNING_KEY,
        "slots": 2,
        "registry": "",
    }


def test_a_task_that_is_handed_out_too_often_is_put_aside(built: Built) -> None:
    found = built.cloud.client("sqs").get_queue_attributes(
        QueueUrl=built.outputs[0]["tasks_queue_url"], AttributeNames=["All"]
    )["Attributes"]
    redrive = json.loads(found["RedrivePolicy"])
    assert redrive["deadLetterTargetArn"].endswith("-tasks-dead.fifo")
    assert int(redrive["maxReceiveCount"]) == 10


def test_the_plan_says_what_terraform_says(built: Built) -> None:
    """Changes are read from the plan's own events: reading the plan file would start the provider once more."""
    run = built.scene.run()
    plan = run.plan()
    prepared = run.terraform._prepared
    assert prepared is not None
    shown = subprocess.run(
        [program(), "show", "-json", str(run.plan_file)],
        cwd=prepared.directory,
        env={
            "PATH": os.environ["PATH"],
            "TF_DATA_DIR": str(run.terraform.data_dir),
            "TF_CLI_CONFIG_FILE": str(cli_config()),
            **built.cloud.environment(),
        },
        capture_output=True,
        check=True,
    )
    wanted = {
        change["address"]: "/".join(change["change"]["actions"])
        for change in json.loads(shown.stdout)["resource_changes"]
        if change["change"]["actions"] != ["no-op"]
    }
    assert {change.address: change.action for change in plan.changes} == wanted
    assert (plan.add, plan.change, plan.destroy) == (len(wanted), 0, 0)
    assert run.plan_file.stat().st_mode & 0o777 == 0o600


def test_a_second_plan_finds_nothing_to_do(built: Built) -> None:
    assert built.runs[0].plan().changes == ()


def test_a_new_agent_touches_no_instance(built: Built) -> None:
    other = {"bucket": PLATFORM_BUCKET, "key": f"agents/{'c' * 64}.tar.gz", "sha256": "c" * 64}
    changes = {change.address: change.action for change in built.runs[0].plan(agent=other).changes}
    assert not any("aws_instance" in address for address in changes)


def test_a_bigger_instance_is_resized_in_place(built: Built) -> None:
    changes = {c.address: c.action for c in built.runs[0].plan(instance_type="t3.large", volume_gb=40).changes}
    assert changes["module.compute[0].aws_instance.this[0]"] == "update"


def test_a_stopped_instance_is_left_alone(built: Built) -> None:
    ec2, ids = built.cloud.client("ec2"), built.outputs[1]["instance_ids"]
    ec2.stop_instances(InstanceIds=ids)

    def state() -> str:
        found = ec2.describe_instances(InstanceIds=ids)["Reservations"][0]["Instances"][0]
        return str(found["State"]["Name"])

    wait_until(lambda: state() == "stopped", 60, "the stop")
    assert not any("aws_instance" in change.address for change in built.runs[1].plan(registry=True).changes)


def test_the_agent_is_run_only_when_it_is_the_promised_one(built: Built) -> None:
    wait_until(lambda: "the agent is not there yet" in built.console(), 60, "the first attempt")
    assert "probe" not in built.console()
    built.scene.agent_publish()
    wait_until(lambda: "probe done" in built.console(), 60, "the real agent")


def test_what_is_asked_of_the_bucket_and_sent_by_the_instance_is_measured(built: Built) -> None:
    cloudwatch, outputs = built.cloud.client("cloudwatch"), built.outputs[0]
    assert measured(cloudwatch, "AWS/EC2", "NetworkOut", InstanceId=outputs["instance_ids"][0]) > 1_000
    bucket = {"BucketName": outputs["bucket"], "FilterId": WHOLE_BUCKET}
    assert measured(cloudwatch, "AWS/S3", "BytesDownloaded", **bucket) > 100


def test_what_the_instance_may_do(built: Built) -> None:
    built.scene.agent_publish()
    said = wait_until(lambda: "probe done" in built.console() and built.console(), 90, "the probes")
    lines = dict(
        line.split()[1:3] for line in said.splitlines() if line.startswith("probe ") and len(line.split()) == 3
    )
    assert lines == {
        "read-control": "200",
        "write-control": "403",
        "delete-control": "403",
        "write-own": "200",
        "read-agent": "404",
        "read-bundles": "403",
        "write-agent": "403",
        "read-state": "403",
    }
    settings = next(line for line in said.splitlines() if line.startswith("probe settings {"))
    assert json.loads(settings.removeprefix("probe settings ")) == {
        "workspace": built.runs[0].name,
        "region": "eu-central-1",
        "bucket": built.outputs[0]["bucket"],
    }


def test_what_the_person_may_do(built: Built) -> None:
    keys = built.runs[0].role(built.outputs[0]["user_role_arn"], USER_EXTERNAL_ID)
    s3, own, other = built.cloud.client_with("s3", **keys), built.outputs[0]["bucket"], built.outputs[1]["bucket"]
    s3.put_object(Bucket=own, Key="mine/x", Body=b"x")
    assert s3.get_object(Bucket=own, Key="mine/x")["Body"].read() == b"x"
    assert s3.list_objects_v2(Bucket=own, Prefix="mine/")["KeyCount"] == 1
    s3.delete_object(Bucket=own, Key="mine/x")
    sqs = built.cloud.client_with("sqs", **keys)
    attempts: tuple[Callable[[], Any], ...] = (
        lambda: s3.get_object(Bucket=own, Key="control/agent.json"),
        lambda: s3.put_object(Bucket=own, Key="control/desired.json", Body=b"{}"),
        lambda: s3.delete_object(Bucket=own, Key="control/agent.json"),
        lambda: s3.list_objects_v2(Bucket=other),
        lambda: s3.get_object(Bucket=other, Key="x"),
        lambda: sqs.receive_message(QueueUrl=built.outputs[0]["tasks_queue_url"]),
    )
    for refused in attempts:
        with pytest.raises(ClientError) as caught:
            refused()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in {400, 403}
        assert "Denied" in str(caught.value) or "403" in str(caught.value) or "Forbidden" in str(caught.value)


def test_nobody_takes_the_persons_role_without_the_external_id(built: Built) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        built.runs[0].role(built.outputs[0]["user_role_arn"], "guessed")


def test_the_way_out(built: Built) -> None:
    """Destroyed but for the data; refused while the data is to be kept; gone at last. Runs last: it takes one down."""
    run, bucket = built.runs[1], built.outputs[1]["bucket"]
    built.cloud.client("s3").put_object(Bucket=bucket, Key="kept", Body=b"data")

    run.plan(destroy=True)
    with pytest.raises(TerraformError) as caught:
        run.terraform.apply(run.plan_file)
    assert caught.value.code == "terraform_bucket_not_empty"
    assert built.cloud.client("s3").get_object(Bucket=bucket, Key="kept")["Body"].read() == b"data"

    outputs = run.build(data_only=True)
    assert (outputs["bucket"], outputs["instance_ids"], outputs["tasks_queue_url"]) == (bucket, [], "")
    assert {address.split(".")[1] for address in run.terraform.resources()} == {"storage"}
    assert built.cloud.client("s3").get_object(Bucket=bucket, Key="kept")["Body"].read() == b"data"

    run.plan(destroy=True)
    run.terraform.apply(run.plan_file)
    assert run.terraform.resources() == []
    assert bucket not in {found["Name"] for found in built.cloud.client("s3").list_buckets()["Buckets"]}
