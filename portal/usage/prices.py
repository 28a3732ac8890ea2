"""What a unit of something costs at a time: the list price of its region with the margin on it.

Rates are whole nano-dollars: of a second of an instance, of a GB-month, of a GB, of a request. A rate of an instance is
the hour's, divided and rounded once, so that seconds times rate is exact.
"""

from __future__ import annotations

import json
import logging
import time
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from django.conf import settings

from portal.core.money import nano_of
from portal.usage.models import Margin, Price

logger = logging.getLogger(__name__)
GIB = 1024**3
KEPT_SECONDS = 30.0
_LIST = Path(__file__).parent / "list_prices.json"
DEFAULT_REGION = "eu-central-1"
_HOUR = 3_600
_WHOLE = 10_000  # a hundred percent, in hundredths of one


@dataclass(frozen=True)
class Tariff:
    """A rate as it changes: since when, and how much; the oldest first. Before the first it is the first."""

    since: tuple[datetime, ...] = ()
    rates: tuple[int, ...] = ()

    def at(self, when: datetime) -> int:
        """The rate at a time; 0 where nothing is known."""
        return self.rates[max(bisect_right(self.since, when) - 1, 0)] if self.rates else 0


@dataclass
class _Table:
    """All prices, read at once and kept for a short while: they are few, and asked for at every end of a step."""

    read_at: float = float("-inf")
    prices: dict[tuple[str, str, str], list[Price]] = field(default_factory=dict)
    margins: list[Margin] = field(default_factory=list)
    tariffs: dict[tuple[str, str, str], Tariff] = field(default_factory=dict)

    def read(self) -> None:
        self.prices, self.tariffs = {}, {}
        for price in list(Price.objects.order_by("valid_from")) or list_prices():
            self.prices.setdefault((price.region, price.kind, price.size), []).append(price)
        self.margins = list(Margin.objects.order_by("valid_from"))
        self.read_at = time.monotonic()


def list_prices() -> list[Price]:
    """The public list prices that Orca comes with, not saved: where the table is empty, they hold."""
    listed = json.loads(_LIST.read_text())
    rows = [("instance", size, dollars) for size, dollars in listed["instance_hour"].items()]
    rows += [(kind, "", listed[f"{kind}_gb_month"]) for kind in ("volume", "storage")]
    rows += [(kind, "", listed[f"{kind}_gb"]) for kind in ("egress", "ingress")]
    rows += [(kind, "", listed[kind]) for kind in ("request", "read")]
    since, source = datetime.fromisoformat(listed["valid_from"]), f"list price, {listed['noted']}"
    return [
        Price(region=listed["region"], kind=kind, size=size, nano=nano_of(dollars), valid_from=since, source=source)
        for kind, size, dollars in rows
    ]


_table = _Table()


def forget_prices() -> None:
    """Read them anew when they are next asked for."""
    _table.read_at = float("-inf")


def tariff(region: str, kind: str, size: str = "") -> Tariff:
    """What something costs in a region. Where no price is known there, it is what it costs in Orca's own."""
    if time.monotonic() - _table.read_at > KEPT_SECONDS:
        _table.read()
    asked = (region, kind, size)
    if asked not in _table.tariffs:
        _table.tariffs[asked] = _tariff(*asked)
    return _table.tariffs[asked]


def _tariff(region: str, kind: str, size: str) -> Tariff:
    for place in (region, settings.AWS_REGION, DEFAULT_REGION):
        if found := _table.prices.get((place, kind, size)):
            break
    else:
        logger.error("there is no price of %s %s in %s: it counts as 0", kind, size, region)
        return Tariff()
    margins = [m for m in _table.margins if m.region in ("", region) and m.kind in ("", kind)]
    since = sorted({found[0].valid_from, *(p.valid_from for p in found), *(m.valid_from for m in margins)})
    since = [when for when in since if when >= found[0].valid_from]
    divisor = _WHOLE * (_HOUR if kind == Price.Kind.INSTANCE else 1)
    rates = []
    for when in since:
        nano = [p.nano for p in found if p.valid_from <= when][-1]
        rates.append((nano * (_WHOLE + _margin(margins, when)) * 2 + divisor) // (divisor * 2))
    return Tariff(tuple(since), tuple(rates))


def _margin(margins: Iterable[Margin], when: datetime) -> int:
    """Hundredths of a percent."""
    valid = [m for m in margins if m.valid_from <= when]
    if not valid:
        return int(Decimal(str(settings.MARGIN_PERCENT)) * 100)
    return int(max(valid, key=lambda m: (bool(m.region) + bool(m.kind), bool(m.kind), m.valid_from)).percent * 100)


def instance_rate(region: str, instance_type: str, at: datetime) -> int:
    """Of one second of a whole instance."""
    return tariff(region, Price.Kind.INSTANCE, instance_type).at(at)


def volume_rate(region: str, at: datetime) -> int:
    """Of one GB of disk for a month."""
    return tariff(region, Price.Kind.VOLUME).at(at)


def storage_rate(region: str, at: datetime) -> int:
    """Of one GB (2^30 bytes, as S3 counts) for a month."""
    return tariff(region, Price.Kind.STORAGE).at(at)


def egress_rate(region: str, at: datetime) -> int:
    """Of one GB (2^30 bytes) that goes out."""
    return tariff(region, Price.Kind.EGRESS).at(at)


def ingress_rate(region: str, at: datetime) -> int:
    """Of one GB (2^30 bytes) that comes in."""
    return tariff(region, Price.Kind.INGRESS).at(at)


def request_rate(region: str, at: datetime) -> int:
    """Of one request that writes or lists."""
    return tariff(region, Price.Kind.REQUEST).at(at)


def read_rate(region: str, at: datetime) -> int:
    """Of one request that reads."""
    return tariff(region, Price.Kind.READ).at(at)
