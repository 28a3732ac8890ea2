"""Pages and routes of usage: one's own statement, and the operator's table."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from django.test import Client
from pypdf import PdfReader
from rest_framework.test import APIClient

from portal.accounts.models import User
from portal.pipelines.models import Run
from portal.usage.models import Grant, UsageRecord
from portal.workspaces.models import Workspace
from tests.people import PASSWORD, browser_of
from tests.unit.portal.usage.statement_made import DOLLAR, used
from tests.unit.portal.web.conftest import WorkspaceMaker, account, workspace_made

__all__ = ["account", "workspace_made"]


@pytest.fixture
def lab(workspace_made: WorkspaceMaker, owner: User) -> Workspace:
    workspace = workspace_made("ready")
    Workspace.objects.update(name="=cmd()")
    used(workspace, "compute", 3 * DOLLAR, quantity=7_200_000)
    Grant.objects.create(owner=owner, kind="credit", amount=DOLLAR, note="Welcome", valid_from="2026-01-01T00:00Z")
    return workspace


def test_the_page_shows_a_months_sums(lab: Workspace, browser: Client) -> None:
    html = browser.get("/usage/2026-10/").content.decode()
    for part in ("October 2026", "$3.00", "$2.00", "Welcome", "2.00 hours", "<svg", "5 October: $3.00"):
        assert part in html, part
    assert "Nothing yet" in browser.get("/usage/").content.decode()


def test_nobody_sees_what_others_used(lab: Workspace, outsider_browser: Client, outsider_api: APIClient) -> None:
    assert "$3.00" not in outsider_browser.get("/usage/2026-10/").content.decode()
    assert outsider_api.get("/api/v1/usage/2026-10/").json()["used"] == "0.00"
    assert lab.name not in outsider_browser.get("/usage/2026-10/csv/").content.decode()


def test_the_table_adds_up_and_starts_no_formula(lab: Workspace, browser: Client) -> None:
    answer = browser.get("/usage/2026-10/csv/")
    assert answer["Content-Disposition"] == 'attachment; filename="orca-2026-10.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert [row["dollars"] for row in rows] == ["3.00", "-1.00", "2.00"]
    assert rows[0]["workspace"] == "'=cmd()"


def test_the_document_is_one(lab: Workspace, browser: Client) -> None:
    Workspace.objects.update(name="Ωλ & <b>")
    answer = browser.get("/usage/2026-10/pdf/")
    assert answer["Content-Type"] == "application/pdf"
    assert "Ωλ & <b>" in text_of(answer.content)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Łukasz Żółć", "Łukasz Żółć"),
        ("Z\u0307o\u0301\u0142c\u0301", "Żółć"),
        ("Ελένη", "Ελένη"),
        ("Иван Ґудз", "Иван Ґудз"),
        ("東京 lab", "□□ lab"),
    ],
)
def test_names_are_legible_in_most_alphabets(lab: Workspace, browser: Client, name: str, written: str) -> None:
    Workspace.objects.update(name=name)
    content = browser.get("/usage/2026-10/pdf/").content
    assert written in text_of(content)
    assert len(content) < 100_000, "of the fonts only what is written"


def text_of(document: bytes) -> str:
    """The text of a PDF."""
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(document)).pages)


def test_programs_get_the_same(lab: Workspace, api: APIClient) -> None:
    months = api.get("/api/v1/usage/").json()["months"]
    assert ("2026-10", "3.00") in [(month["month"], month["used"]) for month in months]
    found: dict[str, Any] = api.get("/api/v1/usage/2026-10/").json()
    assert (found["used"], found["total"]) == ("3.00", "2.00")
    assert found["days"] == {"2026-10-05": {"compute": "3.00"}}
    assert api.get(found["csv"]).content.startswith(b"day,")
    assert api.get(found["pdf"]).content.startswith(b"%PDF-")
    assert api.get("/api/v1/usage/2026-99/").status_code == 404


def test_a_run_says_what_it_costs(lab: Workspace, owner: User, api: APIClient) -> None:
    run = Run.objects.create(owner=owner, workspace=lab, name="hello", state="succeeded")
    UsageRecord.objects.update(run=run)
    found = api.get(f"/api/v1/runs/{run.pk}/cost/").json()
    assert (found["total"], found["compute"], found["start_up"]) == ("3.00", "3.00", "0.00")


def test_an_operator_sees_what_each_person_costs(lab: Workspace, owner: User) -> None:
    office = browser_of(User.objects.create_superuser("root@example.org", PASSWORD))
    html = office.get("/admin/costs/?month=2026-10").content.decode()
    assert owner.email in html
    assert "$3.00" in html
    assert office.get("/admin/costs/?month=x").status_code == 200
    clerk = browser_of(User.objects.create_user("clerk@example.org", PASSWORD, is_staff=True))
    assert clerk.get("/admin/costs/").status_code == 403
