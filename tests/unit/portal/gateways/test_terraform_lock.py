"""The lock of a state in S3, and the mark of an apply under way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import boto3
import pytest
from moto import mock_aws

from portal.gateways.terraform_errors import TerraformError
from portal.gateways.terraform_state import StateObjects, holder_from

REGION: Final = "eu-central-1"
BUCKET: Final = "orca-state-1"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
LOCK = {
    "ID": "dea28fc4",
    "Operation": "OperationTypeApply",
    "Info": "",
    "Who": "root@worker-1",
    "Version": "1.11.4",
    "Created": "2026-11-21T11:19:46.034797123Z",
    "Path": "orca-state-1/workspaces/w1/workspace.tfstate",
}


@pytest.fixture(autouse=True)
def _bucket() -> Iterator[None]:
    with mock_aws():
        s3 = boto3.client("s3", region_name=REGION, aws_access_key_id="x", aws_secret_access_key="y")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield


def _objects(workspace: str = "w1", bucket: str = BUCKET) -> StateObjects:
    return StateObjects(bucket, workspace, environment=ENVIRONMENT, region=REGION, path_style=False)


def _lock(workspace: str = "w1") -> None:
    s3 = boto3.client("s3", region_name=REGION, aws_access_key_id="x", aws_secret_access_key="y")
    s3.put_object(Bucket=BUCKET, Key=f"workspaces/{workspace}/workspace.tfstate.tflock", Body=json.dumps(LOCK))


def test_nobody_holds_it() -> None:
    assert _objects().holder() is None


def test_the_holder_is_named() -> None:
    _lock()
    holder = _objects().holder()
    assert holder is not None
    assert (holder.lock_id, holder.who, holder.operation) == ("dea28fc4", "root@worker-1", "Apply")
    assert holder.created == datetime(2026, 11, 21, 11, 19, 46, 34797, tzinfo=UTC)


def test_each_workspace_has_its_own() -> None:
    _lock("w2")
    assert _objects("w1").holder() is None


def test_only_the_named_lock_is_broken() -> None:
    _lock()
    assert not _objects().break_("another")
    assert _objects().holder() is not None
    assert _objects().break_("dea28fc4")
    assert _objects().holder() is None
    assert not _objects().break_("dea28fc4")


def test_a_lock_that_cannot_be_read_is_still_a_lock() -> None:
    assert holder_from(b"garbage").who == "unknown"
    assert holder_from(b"[]").lock_id == ""


def test_an_apply_under_way_is_marked() -> None:
    assert not _objects().marked()
    _objects().mark()
    assert _objects().marked()
    assert not _objects("w2").marked()
    _objects().unmark()
    assert not _objects().marked()


def test_a_missing_state_bucket_is_the_operators_to_mend() -> None:
    with pytest.raises(TerraformError) as caught:
        _objects(bucket="orca-not-there").holder()
    assert (caught.value.code, caught.value.fault) == ("terraform_state_unreadable", "operator")
