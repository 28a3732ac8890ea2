"""A ready workspace with a script, and an agent's pen, as the tests of pipelines have them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from portal.usage.prices import forget_prices
from tests.unit.portal.pipelines.conftest import run_started, version, workspace

__all__ = ["run_started", "version", "workspace"]


@pytest.fixture(autouse=True)
def _fresh_prices() -> Iterator[None]:
    """Prices are kept for a while, tests are shorter."""
    forget_prices()
    yield
    forget_prices()
