"""A pytest plugin that says what may run side by side.

Unit tests run anywhere, in any order. Those that start processes (a cloud, Terraform, a browser) mostly wait, but each
wants the machine's attention when it does not: they run one after another in two rows, one through the front door
and one below it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

_HEAVY = {"cloud", "terraform", "browser"}


def row(path: Path, marks: set[str]) -> str | None:
    """The row that a test waits in; none for one that may run at any time."""
    if "e2e" in path.parts:
        return "front-door"
    return "parts" if "unit" not in path.parts or marks & _HEAVY else None


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in this hook, too
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if found := row(item.path, {mark.name for mark in item.iter_markers()}):
            item.add_marker(pytest.mark.xdist_group(found))
