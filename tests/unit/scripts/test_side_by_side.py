"""Tests that need the machine for themselves wait in a row."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.orca.side_by_side import row


@pytest.mark.parametrize(
    ("path", "marks", "expected"),
    [
        ("tests/unit/portal/test_a.py", set(), None),
        ("tests/unit/agents/test_a.py", {"cloud"}, "parts"),
        ("tests/unit/agents/test_a.py", {"parametrize"}, None),
        ("tests/integration/test_a.py", set(), "parts"),
        ("tests/terraform/test_a.py", {"terraform"}, "parts"),
        ("tests/e2e/test_a.py", {"cloud"}, "front-door"),
    ],
)
def test_who_waits_where(path: str, marks: set[str], expected: str | None) -> None:
    assert row(Path(path), marks) == expected
