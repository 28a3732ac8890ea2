"""The parts of Orca import each other in one direction, and each rule that says so can be broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.orca.imports import LAYERS, broken_rule, violations
from scripts.orca.paths import ROOT


def test_no_import_of_ours_goes_the_wrong_way() -> None:
    assert violations(ROOT) == []


def test_every_app_has_its_place() -> None:
    apps = {path.parent.name for path in (ROOT / "portal").glob("*/apps.py")}
    assert apps <= set(LAYERS)
    assert apps


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("agents/orca_agent/bad.py", "import django"),
        ("agents/orca_agent/bad.py", "from django.conf import settings"),
        ("agents/local_cloud/bad.py", "from portal.core import errors"),
        ("agents/local_cloud/bad.py", "from agents.orca_agent import events"),
        ("agents/local_cloud/bad.py", "from ..orca_agent.orders import cancel"),
        ("portal/core/bad.py", "from agents.orca_agent.events import Event"),
        ("portal/core/bad.py", "import agents.local_cloud"),
        ("portal/core/bad.py", "import boto3"),
        ("portal/workspaces/bad.py", "from botocore.exceptions import ClientError"),
        ("portal/workspaces/bad.py", "from python_terraform import Terraform"),
        ("portal/core/bad.py", "from portal.accounts import models"),
        ("portal/accounts/bad.py", "from portal.clouds.models import CloudAccount"),
        ("portal/clouds/bad.py", "from ..workspaces.models import Workspace"),
        ("portal/workspaces/bad.py", "import portal.pipelines.models"),
        ("portal/pipelines/bad.py", "from portal import web"),
        ("portal/pipelines/bad.py", "from portal.newcomer import models"),
        ("portal/web/bad.py", "from portal.gateways import aws"),
        ("portal/gateways/bad.py", "from portal.core.models import Identified"),
        ("portal/accounts/bad.py", "from portal.settings import DEBUG"),
        ("portal/accounts/bad.py", "from scripts.orca import paths"),
        ("agents/local_cloud/bad.py", "import tests.people"),
    ],
)
def test_a_wrong_import_is_found_where_it_stands(tmp_path: Path, file: str, line: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(f"import os\n\n\ndef late() -> None:\n    {line}\n")
    found = violations(tmp_path)
    assert len(found) == 1
    assert found[0].startswith(f"{file}:5: ")


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("portal.pipelines.relay", "agents.orca_agent.protocol.verify"),
        ("portal.gateways.aws", "boto3"),
        ("portal.gateways.terraform", "portal.core.errors.OrcaError"),
        ("portal.workspaces.services", "portal.gateways.terraform"),
        ("portal.web.views", "portal.core.errors"),
        ("portal.settings", "portal.env"),
        ("agents.orca_agent.worker", "agents.orca_agent.protocol"),
        ("agents.orca_cli.main", "agents.orca_agent.protocol"),
        ("agents.local_cloud.server", "boto3"),
    ],
)
def test_what_the_design_allows_is_allowed(module: str, imported: str) -> None:
    assert broken_rule(module, imported) == ""
