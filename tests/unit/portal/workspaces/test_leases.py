"""Instances hear from time to time that their portal is there."""

from __future__ import annotations

import boto3
import pytest
from pytest_django import Settings

from agents.orca_agent import protocol
from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.workspaces import control
from portal.workspaces.models import Workspace
from tests.unit.portal.pipelines.conftest import ready_workspace


@pytest.fixture
def workspace(owner: User, cloud_account: CloudAccount) -> Workspace:
    return ready_workspace(owner, cloud_account)


def wanted(workspace: Workspace) -> protocol.Desired:
    body = boto3.client("s3").get_object(Bucket=workspace.bucket, Key=control.KEY)["Body"].read()
    return protocol.parse_desired(body)


def test_each_renewal_is_another_generation(workspace: Workspace, settings: Settings) -> None:
    settings.PORTAL_GONE = 7_200
    control.controls_sweep()
    before = wanted(workspace)
    assert control.leases_renew() == 1
    control.controls_sweep()
    after = wanted(workspace)
    assert (after.generation, after.lease) == (before.generation + 1, 7_200)


@pytest.mark.parametrize("state", ["requested", "stopped", "destroyed"])
def test_what_is_down_needs_none(workspace: Workspace, state: str) -> None:
    Workspace.objects.update(state=state)
    assert control.leases_renew() == 0
