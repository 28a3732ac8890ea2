"""Prices have a history, regions and a margin."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pytest_django import Settings

from portal.usage import prices
from portal.usage.models import Margin, Price

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("list_prices")]
LONG_AGO, THEN, NOW = (datetime(year, 1, 1, tzinfo=UTC) for year in (2019, 2025, 2026))


@pytest.mark.parametrize("seeded", [True, False])
def test_the_list_prices_that_orca_comes_with(seeded: bool) -> None:
    if not seeded:
        Price.objects.all().delete()
    rates = [prices.instance_rate("eu-central-1", f"t3.{s}", NOW) for s in ("small", "medium", "large", "xlarge")]
    assert rates == [6_667, 13_333, 26_667, 53_333]
    assert prices.storage_rate("eu-central-1", NOW) == 24_500_000
    assert prices.egress_rate("eu-central-1", NOW) == 90_000_000
    assert prices.ingress_rate("eu-central-1", NOW) == 0
    assert prices.volume_rate("eu-central-1", NOW) == 95_200_000
    assert (prices.request_rate("eu-central-1", NOW), prices.read_rate("eu-central-1", NOW)) == (5_400, 430)


def test_a_price_holds_from_its_instant_on() -> None:
    Price.objects.create(region="eu-central-1", kind="egress", nano=50_000_000, valid_from=NOW)
    assert prices.egress_rate("eu-central-1", THEN) == 90_000_000
    assert prices.egress_rate("eu-central-1", NOW) == 50_000_000


def test_another_region_has_its_own_prices_or_those_of_orcas() -> None:
    Price.objects.create(region="us-east-1", kind="instance", size="t3.small", nano=36_000_000, valid_from=THEN)
    assert prices.instance_rate("us-east-1", "t3.small", NOW) == 10_000
    assert prices.instance_rate("us-east-1", "t3.medium", NOW) == 13_333
    assert prices.instance_rate("us-east-1", "t3.small", LONG_AGO) == 10_000


def test_what_has_no_price_costs_nothing_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert prices.instance_rate("eu-central-1", "z9.huge", NOW) == 0
    assert "z9.huge" in caplog.text


def test_the_margin_that_names_most_counts(settings: Settings) -> None:
    settings.MARGIN_PERCENT = Decimal("10")
    assert prices.egress_rate("eu-central-1", NOW) == 99_000_000
    for region, kind, percent in (("", "", 20), ("eu-central-1", "", 30), ("", "egress", 40)):
        Margin.objects.create(region=region, kind=kind, percent=percent, valid_from=THEN)
    prices.forget_prices()
    assert prices.egress_rate("eu-central-1", NOW) == 126_000_000
    assert prices.storage_rate("eu-central-1", NOW) == 31_850_000
    assert prices.egress_rate("eu-central-1", datetime(2024, 1, 1, tzinfo=UTC)) == 99_000_000
