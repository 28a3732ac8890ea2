"""How prices come into the table."""

from __future__ import annotations

from itertools import islice
from typing import IO

from portal.usage.models import Price
from portal.usage.offers import Offer, offers
from portal.usage.prices import forget_prices


def prices_import(*, file: IO[bytes], sizes: frozenset[str], source: str) -> tuple[int, int]:
    """Add the prices of a file; how many there were, and how many of them are new. What there is stays as it is."""
    seen = new = 0
    found = offers(file, sizes)
    while some := tuple(islice(found, 500)):
        seen += len(some)
        new += _added(some, source)
    forget_prices()
    return seen, new


def _added(some: tuple[Offer, ...], source: str) -> int:
    """A price that says what the one before it says is none."""
    rows = []
    for offer in some:
        same = Price.objects.filter(region=offer.region, kind=Price.Kind.INSTANCE, size=offer.size)
        before = same.filter(valid_from__lte=offer.valid_from).order_by("-valid_from").first()
        if before is not None and (before.nano == offer.nano or before.valid_from == offer.valid_from):
            continue
        rows.append(
            Price(
                region=offer.region,
                kind=Price.Kind.INSTANCE,
                size=offer.size,
                nano=offer.nano,
                valid_from=offer.valid_from,
                source=source[:200],
            )
        )
    Price.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)
