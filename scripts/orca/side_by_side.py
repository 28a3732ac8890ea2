"""A pytest plugin: which tests run side by side, and which wait for one another.

Tests through the front door share one Orca, tests of the parts one cloud, and some bring an Orca of their own. Each of
the three is a row of its own, so that the processors have work while Terraform is waited for, and no more than one of
each is up. xdist's own groups do not hold under this pytest (its node ids no longer change after collection), so the
rows are told from where a test lies.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

_ROWS = {
    "tests/e2e/test_demo": "own",
    "tests/e2e/test_jobs.py": "own",
    "tests/e2e/": "front-door",
    "tests/integration/": "parts",
    "tests/terraform/": "parts",
    "tests/unit/portal/web/test_in_browser.py": "parts",
}


def row(nodeid: str) -> str:
    """The row that a test waits in; its own name for one that may run at any time."""
    return next((name for place, name in _ROWS.items() if nodeid.startswith(place)), nodeid)


class Rows(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives each row to one worker, the longest first."""

    def _split_scope(self, nodeid: str) -> str:
        return row(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Rows:
    return Rows(config, log)
