"""Linking an account, on the local cloud's second account with IAM enforced and Terraform itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from portal.accounts.models import User
from portal.clouds import links
from portal.clouds.models import CloudAccount
from portal.clouds.services import platform_ensure
from portal.clouds.template import module_variables, role_name_of
from tests.conftest import forget_clouds
from tests.fixtures.cloud import ACCOUNTS, Cloud
from tests.people import person
from tests.terraform.scene import TERRAFORM, cli_config, program

pytestmark = [pytest.mark.cloud, pytest.mark.terraform, pytest.mark.django_db]

SECOND = ACCOUNTS["second"]


@pytest.fixture
def cloud(local_cloud: Cloud, monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path) -> Iterator[Cloud]:
    """The local cloud, with Orca at home in its first account."""
    for name, value in local_cloud.environment().items():
        monkeypatch.setenv(name, value)
    settings.S3_PATH_STYLE = True
    settings.PUBLIC_AWS_ENDPOINT_URL = local_cloud.endpoint
    forget_clouds()
    archive = tmp_path / "agent.tar.gz"
    archive.write_bytes(b"not really an agent")
    platform_ensure(archive=archive)
    yield local_cloud
    forget_clouds()


@pytest.fixture
def owner(cloud: Cloud) -> User:
    return person("ada@example.org")


def link_apply(cloud: Cloud, folder: Path, account: CloudAccount, *, destroy: bool = False) -> str:
    """``terraform apply`` of envs/link with the second account's administrator's keys, as a person would; the role."""
    if not folder.exists():
        shutil.copytree(TERRAFORM / "envs" / "link", folder, ignore=shutil.ignore_patterns(".terraform*", "tests"))
    (folder / "terraform.tfvars").write_text(module_variables(account))
    known = {"PATH": os.environ["PATH"], "TF_CLI_CONFIG_FILE": str(cli_config()), "CHECKPOINT_DISABLE": "1"}
    given = {**known, **cloud.environment("second")}

    def terraform(*command: str) -> str:
        done = subprocess.run(
            [program(), *command], cwd=folder, env=given, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    if not (folder / ".terraform").exists():
        terraform("init", "-input=false", "-no-color")
    if destroy:
        terraform("destroy", "-auto-approve", "-input=false", "-no-color")
        return ""
    terraform("apply", "-auto-approve", "-input=false", "-no-color")
    return str(json.loads(terraform("output", "-json"))["role_arn"]["value"])


def found(account: CloudAccount) -> dict[str, str]:
    return {finding["key"]: finding["state"] for finding in account.checks}


def finding(account: CloudAccount, key: str) -> dict[str, Any]:
    return next(row for row in account.checks if row["key"] == key)


def test_a_link_from_nothing_with_terraform(cloud: Cloud, owner: User, tmp_path: Path) -> None:
    account = links.link_start(owner=owner, name="Mine")
    links.link_check(account=account, by=owner, role=SECOND)
    assert account.state == "pending"
    assert found(account)["role"] == "failed"
    assert found(account)["external_id"] == "skipped"

    role_arn = link_apply(cloud, tmp_path / "link", account)
    assert role_arn == f"arn:aws:iam::{SECOND}:role/{role_name_of(account)}"
    links.link_check(account=account, by=owner)
    assert account.state == "linked", account.checks
    assert set(found(account).values()) == {"ok"}
