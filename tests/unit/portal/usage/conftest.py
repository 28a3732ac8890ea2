"""A ready workspace with a script, and an agent's pen, as the tests of pipelines have them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import pytest
from django.apps import apps

from portal.usage.models import Price
from portal.usage.prices import forget_prices
from tests.unit.portal.pipelines.conftest import run_started, version, workspace

__all__ = ["run_started", "version", "workspace"]


@pytest.fixture(autouse=True)
def _fresh_prices() -> Iterator[None]:
    """Prices are kept for a while, tests are shorter."""
    forget_prices()
    yield
    forget_prices()


@pytest.fixture
def list_prices(db: None) -> None:
    """For tests of prices themselves."""
    prices_restored()


def prices_restored() -> None:
    """The list prices that a migration made: a test with transactions of its own may follow one that emptied them."""
    if not Price.objects.exists():
        import_module("portal.usage.migrations.0002_list_prices").seed(apps, None)
    forget_prices()
