"""Tests that need the machine for themselves run one after another."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.orca.side_by_side import is_heavy


@pytest.mark.parametrize(
    ("path", "marks", "heavy"),
    [
        ("tests/unit/portal/test_a.py", set(), False),
        ("tests/unit/agents/test_a.py", {"cloud"}, True),
        ("tests/unit/agents/test_a.py", {"parametrize"}, False),
        ("tests/integration/test_a.py", set(), True),
        ("tests/e2e/test_a.py", set(), True),
    ],
)
def test_what_runs_alone(path: str, marks: set[str], heavy: bool) -> None:
    assert is_heavy(Path(path), marks) is heavy
