"""What was used, what it costs, and what may still be spent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.agents.orca_cli.conftest import Done, Portal, answer

Orca = Callable[..., Done]
pytestmark = pytest.mark.usefixtures("logged_in")


def test_months_and_one_of_them(orca: Orca, portal: Portal) -> None:
    portal.says("GET", "usage/", answer({"months": [{"month": "2026-11", "used": "1.234567891", "statement": "x"}]}))
    assert "2026-11  $1.23" in orca("usage").out
    statement: dict[str, Any] = {
        "month": "2026-11",
        "used": "1.25",
        "total": "0.25",
        "kinds": [{"kind": "compute", "name": "Computing", "quantity": "2.5", "unit": "h", "cost": "1.25"}],
        "workspaces": [{"name": "lab", "id": "w", "cost": "1.25"}],
        "scripts": [],
        "days": {},
        "deductions": [{"name": "Free tier", "why": "", "amount": "1.00"}],
        "csv": "https://orca.example.org/csv",
        "pdf": "https://orca.example.org/pdf",
    }
    portal.says("GET", "usage/2026-11/", answer(statement))
    out = orca("usage", "2026-11").out
    for said in ("2026-11  $0.25", "2.5 h", "lab", "-$1.00"):
        assert said in out
    assert orca("usage", "2026-11", "--json").json == statement


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "left"),
        ({"reached": True}, "nothing further begins"),
        ({"soft_reached": True}, "warned at"),
        ({"hard": None, "left": None}, "no limit"),
        ({"trial": True}, "trial account"),
    ],
)
def test_a_budget_says_how_it_stands(orca: Orca, portal: Portal, more: dict[str, Any], said: str) -> None:
    budget = {
        "month": "2026-11-01",
        "soft": "5.00",
        "hard": "10.00",
        "spent": "4.20",
        "reserved": "0.50",
        "held": "0.10",
        "left": "5.20",
        "soft_reached": False,
        "reached": False,
        "trial": False,
    }
    portal.says("GET", "budget/", answer(budget | more))
    out = orca("budget").out
    assert "$4.20" in out
    assert said in out
