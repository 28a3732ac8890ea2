"""A pytest plugin: unit tests run side by side, those that need a cloud, Terraform or a browser one after another."""

from __future__ import annotations

from pathlib import Path

import pytest

_HEAVY = {"cloud", "terraform", "browser"}


def is_heavy(path: Path, marks: set[str]) -> bool:
    """Whether a test starts processes that need the machine for themselves."""
    return "unit" not in path.parts or bool(marks & _HEAVY)


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if is_heavy(item.path, {mark.name for mark in item.iter_markers()}):
            item.add_marker(pytest.mark.xdist_group("one-after-another"))
