"""A second account, linked with real Terraform, and a workspace in it: everything works there as it does at home."""

from __future__ import annotations

import io
import json
import os
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from scripts.orca.bench.installation import Lab, Orca, Person, person_signed_up
from tests.fixtures.cloud import ACCOUNTS
from tests.terraform.scene import cli_config, program

pytestmark = [pytest.mark.cloud, pytest.mark.terraform]

SECOND = ACCOUNTS["second"]
BUILT = {"ready", "failed", "degraded"}
FROM_METADATA = """
import json, os, urllib.request
base = os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"].rstrip("/")
def ask(path, method="GET", **headers):
    return urllib.request.urlopen(urllib.request.Request(base + path, method=method, headers=headers)).read().decode()
token = ask("/latest/api/token", "PUT", **{"X-aws-ec2-metadata-token-ttl-seconds": "60"})
role = ask("/latest/meta-data/iam/security-credentials/", **{"X-aws-ec2-metadata-token": token})
keys = ask("/latest/meta-data/iam/security-credentials/" + role, **{"X-aws-ec2-metadata-token": token})
os.makedirs("output", exist_ok=True)
open("output/hello.txt", "w").write("from afar")
print(keys.replace("\\n", ""))
"""


class Owner:
    """Whoever owns the second account: with keys of their own, which Orca never sees."""

    def __init__(self, orca: Orca, folder: Path) -> None:
        self.orca, self.folder = orca, folder
        kept = json.loads((orca.home / "cloud" / "credentials.json").read_text())["accounts"][SECOND]
        self.keys = {
            "AWS_ENDPOINT_URL": orca.cloud_url,
            "AWS_ACCESS_KEY_ID": kept["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": kept["secret_access_key"],
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def take(self, module: bytes) -> None:
        """Unpack the module as Orca hands it out."""
        with zipfile.ZipFile(io.BytesIO(module)) as archive:
            archive.extractall(self.folder)

    def terraform(self, *command: str) -> str:
        known = {"PATH": os.environ["PATH"], "TF_CLI_CONFIG_FILE": str(cli_config()), "CHECKPOINT_DISABLE": "1"}
        done = subprocess.run(
            [program(), *command, "-no-color"],
            cwd=self.folder / "orca-link",
            env=known | self.keys,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def apply(self) -> None:
        self.terraform("apply", "-auto-approve", "-input=false")

    def client(self, service: str) -> Any:
        return client(self.orca, service, self.keys["AWS_ACCESS_KEY_ID"], self.keys["AWS_SECRET_ACCESS_KEY"])


def client(orca: Orca, service: str, key: str, secret: str, token: str | None = None) -> Any:
    untyped: Any = boto3.session.Session()
    return untyped.client(
        service,
        region_name="eu-central-1",
        endpoint_url=orca.cloud_url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"max_attempts": 0}),
    )


def refused(call: Any, **given: Any) -> bool:
    try:
        call(**given)
    except ClientError as error:
        return error.response["Error"]["Code"] in {"AccessDenied", "403", "AccessDeniedException"}
    return False


def states(account: Any) -> dict[str, str]:
    return {finding["key"]: finding["state"] for finding in account["checks"]}


@pytest.fixture(scope="module")
def person(running_orca: Orca) -> Person:
    return person_signed_up(running_orca)


@pytest.fixture(scope="module")
def link(person: Person) -> str:
    """A link that has been begun."""
    made = person.post("cloud-accounts/", {"name": "Second"})
    assert made["state"] == "pending"
    return str(made["id"])


@pytest.fixture(scope="module")
def second(running_orca: Orca, person: Person, link: str, tmp_path_factory: pytest.TempPathFactory) -> Owner:
    """The second account's owner, who has applied the module that Orca hands out."""
    owner = Owner(running_orca, tmp_path_factory.mktemp("second"))
    owner.take(person.api.get(f"cloud-accounts/{link}/module/").content)
    owner.terraform("init", "-input=false")
    owner.apply()
    return owner


@pytest.fixture(scope="module")
def linked(person: Person, link: str, second: Owner) -> str:
    """The link, checked and working."""
    account = person.post(f"cloud-accounts/{link}/check/", {"role": SECOND})
    assert account["state"] == "linked", account["checks"]
    assert set(states(account).values()) == {"ok"}
    return link


@pytest.fixture(scope="module")
def far(person: Person, linked: str, second: Owner) -> Iterator[Lab]:
    """A workspace in the second account. On the way the role is taken back in the middle of the apply, and mended."""
    made = person.post("workspaces/", {"name": "far", "cloud_account": linked})
    run = f"terraform-runs/{made['active_run']}/"
    person.until(run, lambda found: found["resources_done"] > 3 or found["finished_at"], seconds=90)
    second.terraform("destroy", "-auto-approve", "-input=false")
    ended = person.until(run, lambda found: found["finished_at"], seconds=120)
    assert (ended["state"], ended["error_code"]) == ("failed", "role_revoked"), ended
    assert "Orca may no longer assume the role" in ended["error_message"]
    assert person.get(f"cloud-accounts/{linked}/")["state"] == "broken"
    refusal = person.api.post("workspaces/", json={"name": "not now", "cloud_account": linked})
    assert (refusal.status_code, refusal.json()["code"]) == (409, "account_not_linked")

    second.apply()
    assert person.post(f"cloud-accounts/{linked}/check/")["state"] == "linked"
    person.post(f"workspaces/{made['id']}/apply/")
    built = person.until(f"workspaces/{made['id']}/", lambda w: w["state"] == "ready", seconds=120)
    assert built["cloud_account"] == linked
    yield Lab(person, made["id"])


def test_a_role_that_is_not_there_and_a_wrong_external_id_are_refused(
    running_orca: Orca, person: Person, linked: str, second: Owner
) -> None:
    other = person.post("cloud-accounts/", {"name": "Without a role"})
    role = person.get(f"cloud-accounts/{linked}/")["role_arn"]
    # The role demands the ExternalId of the first link: another link's does not open it.
    stolen = person_signed_up(running_orca)
    theirs = stolen.post("cloud-accounts/", {"name": "Stolen"})
    found = stolen.post(f"cloud-accounts/{theirs['id']}/check/", {"role": role})
    assert found["state"] == "pending"
    assert states(found)["role"] == "failed"
    absent = person.post(f"cloud-accounts/{other['id']}/check/", {"role": SECOND})
    assert states(absent)["role"] == "failed"
    person.post(f"cloud-accounts/{other['id']}/unlink/")


def test_what_is_missing_is_named_and_an_open_role_is_warned_of(person: Person, linked: str, second: Owner) -> None:
    iam, role = second.client("iam"), person.get(f"cloud-accounts/{linked}/")["role_name"]
    policy = iam.get_role_policy(RoleName=role, PolicyName="build-workspaces")["PolicyDocument"]
    taken = {"WorkspaceQueues", "NewMachines", "WorkspaceImages"}
    less = [statement for statement in policy["Statement"] if statement["Sid"] not in taken]
    iam.put_role_policy(
        RoleName=role, PolicyName="build-workspaces", PolicyDocument=json.dumps({**policy, "Statement": less})
    )
    found = person.post(f"cloud-accounts/{linked}/check/")
    assert found["state"] == "broken"
    wrong = {finding["key"]: finding for finding in found["checks"] if finding["state"] == "failed"}
    assert set(wrong) == {"queues", "machines"}
    assert wrong["machines"]["message"] == "Missing: ec2:RunInstances."
    assert "sqs:CreateQueue" in wrong["queues"]["message"]
    assert states(found)["registry"] == "lacking"
    iam.put_role_policy(RoleName=role, PolicyName="build-workspaces", PolicyDocument=json.dumps(policy))

    trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    bare = [{name: part for name, part in statement.items() if name != "Condition"} for statement in trust["Statement"]]
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps({**trust, "Statement": bare}))
    found = person.post(f"cloud-accounts/{linked}/check/")
    assert found["state"] == "broken"
    assert "without any ExternalId" in next(f for f in found["checks"] if f["key"] == "external_id")["message"]
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust))
    assert person.post(f"cloud-accounts/{linked}/check/")["state"] == "linked"


def test_the_template_makes_a_role_that_passes_the_same_check(person: Person, second: Owner) -> None:
    made = person.post("cloud-accounts/", {"name": "By CloudFormation"})
    stacks, name = second.client("cloudformation"), made["role_name"]
    given = {"ExternalId": made["external_id"], "RoleName": name}
    stacks.create_stack(
        StackName=name,
        TemplateBody=person.api.get(f"cloud-accounts/{made['id']}/template/").text,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    (stack,) = stacks.describe_stacks(StackName=name)["Stacks"]
    (output,) = stack["Outputs"]
    found = person.post(f"cloud-accounts/{made['id']}/check/", {"role": output["OutputValue"]})
    assert found["state"] == "linked", found["checks"]
    person.post(f"cloud-accounts/{made['id']}/unlink/")
    stacks.delete_stack(StackName=name)


def test_a_run_there_succeeds_and_its_instance_reaches_its_own_alone(running_orca: Orca, far: Lab) -> None:
    run = far.person.ended(far.run(FROM_METADATA))
    (step,) = run["steps"]
    assert (run["state"], step["outputs"][0]["path"]) == ("succeeded", "hello.txt")
    found = json.loads(far.person.log(run)[0])
    keys = (found["AccessKeyId"], found["SecretAccessKey"], found["Token"])
    s3, sqs, sts = (client(running_orca, service, *keys) for service in ("s3", "sqs", "sts"))
    assert sts.get_caller_identity()["Account"] == SECOND
    events = f"{running_orca.cloud_url}/{ACCOUNTS['platform']}/orca-events"
    sqs.send_message(QueueUrl=events, MessageBody="{}")
    assert refused(sqs.receive_message, QueueUrl=events)
    assert refused(sqs.get_queue_attributes, QueueUrl=events, AttributeNames=["All"])
    assert refused(sqs.send_message, QueueUrl=events + "-dead", MessageBody="{}")
    platform = f"orca-platform-{ACCOUNTS['platform']}"
    assert refused(s3.list_objects_v2, Bucket=platform)
    assert refused(s3.put_object, Bucket=platform, Key="agents/current", Body=b"")
    assert refused(s3.get_object, Bucket=f"orca-state-{ACCOUNTS['platform']}", Key="x")


def test_nobody_else_in_the_second_account_may_report(running_orca: Orca, far: Lab, second: Owner) -> None:
    events = f"{running_orca.cloud_url}/{ACCOUNTS['platform']}/orca-events"
    assert refused(second.client("sqs").send_message, QueueUrl=events, MessageBody="{}")
    agents = second.client("s3")
    assert refused(agents.get_object, Bucket=f"orca-platform-{ACCOUNTS['platform']}", Key="agents/current")


def test_state_stays_at_home_and_the_rest_is_over_there(running_orca: Orca, far: Lab, second: Owner) -> None:
    own = running_orca.environment()
    home = client(running_orca, "s3", own["AWS_ACCESS_KEY_ID"], own["AWS_SECRET_ACCESS_KEY"])
    state = f"orca-state-{ACCOUNTS['platform']}"
    assert home.head_object(Bucket=state, Key=f"workspaces/{far.workspace}/workspace.tfstate")
    names = [bucket["Name"] for bucket in second.client("s3").list_buckets()["Buckets"]]
    assert names == [f"orca-{far.workspace}"]
    roles = {role["RoleName"]: role for role in second.client("iam").list_roles()["Roles"]}
    made = second.client("iam").get_role(RoleName=f"orca-{far.workspace}-instance")["Role"]
    assert made["PermissionsBoundary"]["PermissionsBoundaryArn"].endswith("-boundary")
    assert {f"orca-{far.workspace}-instance", f"orca-{far.workspace}-user"} <= set(roles)


def test_the_external_id_is_exchanged_under_a_living_workspace(far: Lab, linked: str, second: Owner) -> None:
    person, path = far.person, f"cloud-accounts/{linked}/"
    before = person.get(path)["external_id"]
    fresh = person.post(path + "rotate/")["next_external_id"]
    assert person.post(path + "rotate/finish/") == {"old": True, "new": False, "switched": False}
    second.take(person.api.get(path + "module/").content)
    second.apply()
    assert person.post(path + "rotate/finish/") == {"old": True, "new": True, "switched": True}
    second.take(person.api.get(path + "module/").content)
    second.apply()
    found = person.post(path + "check/")
    assert (found["state"], found["external_id"], found["next_external_id"]) == ("linked", fresh, "")
    assert before != fresh
    run = far.person.ended(far.run("print('still here')"))
    assert run["state"] == "succeeded"


def test_stop_start_and_credentials_work_there(far: Lab) -> None:
    path = f"workspaces/{far.workspace}/"
    assert far.person.post(path + "credentials/")["bucket"] == f"orca-{far.workspace}"
    far.person.post(path + "stop/")
    # Put off while the last of the apply, its waiting for queues, is still going on.
    far.person.until(path, lambda w: w["state"] == "stopped", seconds=120)
    far.person.post(path + "start/")
    far.person.until(path, lambda w: w["state"] == "ready", seconds=60)


def test_unlinking_in_the_middle_of_a_run(running_orca: Orca, far: Lab, linked: str, second: Owner) -> None:
    person, path = far.person, f"cloud-accounts/{linked}/"
    run = far.run("import time\nprint('in', flush=True)\ntime.sleep(600)")
    person.until(f"runs/{run['id']}/", lambda found: found["state"] == "running", seconds=30)
    refusal = person.api.post(path + "unlink/")
    assert (refusal.status_code, refusal.json()["code"]) == (409, "workspaces_live_there")
    assert "far" in refusal.json()["message"]
    person.post(path + "unlink/", {"abandon": True, "confirm_name": "Second"})
    ended = person.get(f"runs/{run['id']}/")
    assert ended["state"] == "cancelled"
    assert "cloud account Second was unlinked" in ended["steps"][0]["message"]
    assert person.get(f"workspaces/{far.workspace}/")["state"] == "destroyed"
    ec2, deadline = second.client("ec2"), time.monotonic() + 40
    while True:
        groups = ec2.describe_instances()["Reservations"]
        if {machine["State"]["Name"] for group in groups for machine in group["Instances"]} <= {
            "stopped",
            "terminated",
        }:
            break
        assert time.monotonic() < deadline, groups
        time.sleep(0.2)
    assert [bucket["Name"] for bucket in second.client("s3").list_buckets()["Buckets"]] == [f"orca-{far.workspace}"]
