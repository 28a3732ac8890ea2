"""What real Terraform says when something is wrong, and what people are told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portal.gateways.terraform import TerraformError
from scripts.orca.run.ports import free_port
from tests.fixtures.cloud import Cloud
from tests.terraform.scene import ACCOUNT, EXTERNAL_ID, Scene

pytestmark = [pytest.mark.terraform, pytest.mark.cloud]


@pytest.fixture(scope="module")
def scene(local_cloud: Cloud) -> Scene:
    """An account that is ready for workspaces."""
    return Scene(local_cloud)


def _refusal(scene: Scene, *, variables: dict[str, Any] | None = None, **environment: str) -> TerraformError:
    with pytest.raises(TerraformError) as caught:
        scene.run(**environment).plan(**(variables or {}))
    return caught.value


def test_a_role_that_does_not_let_orca_in(scene: Scene) -> None:
    error = _refusal(scene, variables={"provisioner_external_id": "guessed"})
    assert (error.code, error.fault) == ("terraform_role_refused", "account")
    assert EXTERNAL_ID not in error.detail


def test_a_role_that_may_too_little(scene: Scene) -> None:
    iam = scene.cloud.client("iam")
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}},
    }
    iam.create_role(
        RoleName="orca-weak",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    error = _refusal(scene, variables={"provisioner_role_arn": f"arn:aws:iam::{ACCOUNT}:role/orca-weak"})
    assert (error.code, error.fault) == ("terraform_denied", "account")


def test_credentials_that_are_wrong(scene: Scene) -> None:
    error = _refusal(scene, AWS_SECRET_ACCESS_KEY="wrong")
    assert (error.code, error.fault) == ("terraform_bad_credentials", "operator")


def test_a_cloud_that_does_not_answer(scene: Scene) -> None:
    error = _refusal(scene, AWS_ENDPOINT_URL=f"http://127.0.0.1:{free_port()}", AWS_MAX_ATTEMPTS="1")
    assert (error.code, error.retryable) == ("terraform_unreachable", True)


def test_a_setting_that_is_wrong(scene: Scene) -> None:
    error = _refusal(scene, variables={"volume_gb": 1})
    assert (error.code, error.fault) == ("terraform_variable", "person")
    assert "8 to 16384 GiB" in error.message


def test_an_instance_type_that_does_not_exist(scene: Scene) -> None:
    error = _refusal(scene, variables={"instance_type": "t99.colossal"})
    assert (error.code, error.fault) == ("terraform_instance_type", "person")
