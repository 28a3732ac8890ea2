"""A secret on its whole way: from the API into the cloud, to a step, masked in its log; and to nobody else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from agents.orca_agent.ids import new_id
from portal.gateways import provisioner_policy
from scripts.orca.bench.installation import Lab, Orca

pytestmark = pytest.mark.cloud
ACCOUNT = "100000000001"
VALUE = "correct-horse-battery-staple"

USES = """
import base64, os, pathlib
value = os.environ["API_KEY"]
path = pathlib.Path(os.environ["ORCA_SECRETS"], "API_KEY")
print(len(value), path.read_text() == value, oct(path.stat().st_mode)[-3:])
print("on purpose:", value)
print("encoded:", base64.b64encode(value.encode()).decode())
"""
KEYS = """
import os, urllib.request
base = os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"].rstrip("/")
def ask(path, method="GET", **headers):
    return urllib.request.urlopen(urllib.request.Request(base + path, method=method, headers=headers)).read().decode()
token = ask("/latest/api/token", "PUT", **{"X-aws-ec2-metadata-token-ttl-seconds": "60"})
role = ask("/latest/meta-data/iam/security-credentials/", **{"X-aws-ec2-metadata-token": token})
keys = ask("/latest/meta-data/iam/security-credentials/" + role, **{"X-aws-ec2-metadata-token": token})
print(keys.replace("\\n", ""))
"""


def manager(orca: Orca, key: str, secret: str, token: str | None = None) -> Any:
    session: Any = boto3.session.Session()
    return session.client(
        "secretsmanager",
        region_name="eu-central-1",
        endpoint_url=orca.cloud_url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"max_attempts": 0}),
    )


@pytest.fixture
def administrator(running_orca: Orca) -> Any:
    """Who may read everything in the account."""
    environment = running_orca.environment()
    return manager(running_orca, environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])


@pytest.fixture
def secret(lab: Lab) -> Iterator[str]:
    """The address of a secret of the lab's."""
    address = f"workspaces/{lab.workspace}/secrets/API_KEY/"
    lab.person.ask("PUT", address, json={"value": VALUE})
    yield address
    if lab.person.api.get(f"workspaces/{lab.workspace}/secrets/").json()["results"]:
        lab.person.ask("DELETE", address)


def refused(call: Any, **given: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**given)
    return str(error.value.response["Error"]["Code"])


def test_a_secret_reaches_a_step_and_stays_there(lab: Lab, secret: str) -> None:
    run = lab.person.ended(lab.run(USES, secrets=["API_KEY"]))
    assert run["state"] == "succeeded", run
    assert lab.person.log(run) == [f"{len(VALUE)} True 400", "on purpose: ***", "encoded: ***"]
    told = json.dumps(run) + json.dumps(lab.person.get(f"workspaces/{lab.workspace}/secrets/"))
    assert VALUE not in told
    assert lab.person.api.get(secret).status_code == 405


def test_a_value_that_is_replaced_arrives_within_a_minute(lab: Lab, secret: str) -> None:
    lab.person.ended(lab.run(USES, secrets=["API_KEY"]))
    lab.person.ask("PUT", secret, json={"value": "new-" + VALUE})
    until = time.monotonic() + 60
    wanted = f"{len(VALUE) + 4} True 400"
    script = lab.script(USES)
    while True:
        run = lab.person.ended(lab.person.run(lab.workspace, script, secrets=["API_KEY"]))
        if lab.person.log(run)[0] == wanted:
            break
        assert time.monotonic() < until, "the old value is still used"
        time.sleep(1)


def test_a_secret_that_is_deleted_ends_the_step_with_what_to_do(lab: Lab, secret: str, administrator: Any) -> None:
    lab.person.ask("PUT", secret.replace("API_KEY", "SHORT_LIVED"), json={"value": VALUE})
    administrator.delete_secret(SecretId=f"orca/{lab.workspace}/SHORT_LIVED", ForceDeleteWithoutRecovery=True)
    run = lab.person.ended(lab.run(USES, secrets=["SHORT_LIVED"]))
    lab.person.ask("DELETE", secret.replace("API_KEY", "SHORT_LIVED"))
    step = run["steps"][0]
    assert (step["state"], step["reason"]) == ("failed", "secret_missing")
    assert "SHORT_LIVED" in step["message"]
    assert "Add it on the workspace's page" in step["message"]
    missing = lab.person.api.post(
        "runs/", json={"workspace": lab.workspace, "script": run["script"], "secrets": ["SHORT_LIVED"]}
    )
    assert (missing.status_code, missing.json()["code"]) == (422, "secret_missing")


def test_an_instance_reads_its_own_secrets_and_nobody_elses(
    lab: Lab, running_orca: Orca, secret: str, administrator: Any
) -> None:
    other = f"orca/{new_id()}/API_KEY"
    administrator.create_secret(Name=other, SecretString="of another workspace")
    mean = f"orca/{lab.workspace}x/API_KEY"
    administrator.create_secret(Name=mean, SecretString="of one with a longer name")
    keys = json.loads(lab.person.log(lab.person.ended(lab.run(KEYS)))[0])
    instance = manager(running_orca, keys["AccessKeyId"], keys["SecretAccessKey"], keys["Token"])
    own = f"orca/{lab.workspace}/API_KEY"
    assert instance.get_secret_value(SecretId=own)["SecretString"] == VALUE
    for name in (other, mean, f"orca/{new_id()}/NOT_THERE"):
        assert refused(instance.get_secret_value, SecretId=name) == "AccessDeniedException"
    assert refused(instance.list_secrets) == "AccessDeniedException"
    assert refused(instance.put_secret_value, SecretId=own, SecretString="x") == "AccessDeniedException"
    assert refused(instance.delete_secret, SecretId=own) == "AccessDeniedException"
    arn = administrator.describe_secret(SecretId=other)["ARN"]
    assert refused(instance.get_secret_value, SecretId=arn) == "AccessDeniedException"


def test_the_role_of_the_portal_writes_and_cannot_read(running_orca: Orca, lab: Lab, secret: str) -> None:
    """As far as its policy goes, which is put to a user of its own: the role itself asks for an ExternalId."""
    environment = running_orca.environment()
    session: Any = boto3.session.Session()
    iam = session.client(
        "iam",
        region_name="eu-central-1",
        endpoint_url=running_orca.cloud_url,
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    name = f"policy-{new_id()}"
    iam.create_user(UserName=name)
    document = json.dumps(provisioner_policy.document(ACCOUNT))
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    portal = manager(running_orca, key["AccessKeyId"], key["SecretAccessKey"])
    own = f"orca/{lab.workspace}/API_KEY"
    portal.put_secret_value(SecretId=own, SecretString=VALUE)
    assert refused(portal.get_secret_value, SecretId=own) == "AccessDeniedException"
    assert refused(portal.list_secrets) == "AccessDeniedException"
    assert refused(portal.create_secret, Name="of-somebody-else", SecretString="x") == "AccessDeniedException"
