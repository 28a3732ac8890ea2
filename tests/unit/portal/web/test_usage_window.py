"""The page of usage in a browser: nothing is wider than a telephone, nothing is complained about."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from portal.accounts.models import User
from portal.pipelines.models import Script
from portal.usage.models import Grant, Kind
from portal.workspaces.models import Workspace
from tests.fixtures.windows import WindowMaker, chromium, served, window
from tests.unit.portal.usage.statement_made import DOLLAR, used
from tests.unit.portal.web.conftest import WorkspaceMaker, account, workspace_made

__all__ = ["account", "chromium", "served", "window", "workspace_made"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    # WhiteNoise hands out files in a way that Django's ASGI handler remarks on.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]
WIDE = """() => [...document.querySelectorAll("main *")]
  .filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth).map((e) => e.outerHTML)"""


@pytest.fixture
def used_much(workspace_made: WorkspaceMaker, owner: User) -> Workspace:
    workspace = workspace_made("ready")
    script = Script.objects.create(owner=owner, name="shrink-all-the-pictures-of-cbers", claimed_name="shrink")
    chance = random.Random(7)
    for day in range(1, 29):
        for kind in Kind:
            quantity = chance.randrange(DOLLAR)
            nano = 0 if kind in (Kind.SENT, Kind.FETCHED, Kind.INGRESS) else quantity
            used(workspace, kind, nano, quantity=quantity, day=day, script=script.pk if kind == Kind.COMPUTE else "")
    since = datetime(2026, 1, 1, tzinfo=UTC)
    Grant.objects.create(kind="free_tier", of="compute", quantity=10, note="Free tier", valid_from=since)
    Grant.objects.create(owner=owner, kind="discount", percent=15, note="Universities", valid_from=since)
    Grant.objects.create(owner=owner, kind="credit", amount=20 * DOLLAR, note="Welcome", valid_from=since)
    return workspace


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (360, "light")])
def test_a_statement_fits_its_window(window: WindowMaker, used_much: Workspace, width: int, scheme: str) -> None:
    with window(width=width, scheme=scheme) as w:
        page = w.open("/usage/2026-10/")
        assert page.evaluate(WIDE) == []
        assert page.locator("svg.use rect.use-compute").count() == 28
        if folder := os.environ.get("ORCA_SHOTS"):
            page.screenshot(path=Path(folder) / f"usage-{width}-{scheme}.png", full_page=True)
