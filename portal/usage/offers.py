"""AWS's published price file of EC2 (the "offer file" of the Price List), read as a stream.

The file of one region is hundreds of megabytes. What is kept of it are the product ids of what Orca starts: Linux on
shared hardware, nothing installed, on demand; and their prices of an hour.
Format: docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/reading-service-price-list-file-for-services.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import IO, Any

import ijson

from portal.core.errors import Invalid
from portal.core.money import nano_of

_WANTED = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "capacitystatus": "Used",
    "preInstalledSw": "NA",
    "licenseModel": "No License required",
}


@dataclass(frozen=True)
class Offer:
    """The price of an hour of an instance type in a region, and since when."""

    region: str
    size: str
    nano: int
    valid_from: datetime


def offers(file: IO[bytes], sizes: frozenset[str] = frozenset()) -> Iterator[Offer]:
    """The offers in a file, of all sizes unless some are named. Raises ``Invalid`` for what is no such file."""
    try:
        products = dict(_products(file, sizes))
        file.seek(0)
        yield from _prices(file, products)
    except (ijson.JSONError, ValueError, KeyError, ArithmeticError, AttributeError, TypeError) as error:
        raise Invalid(f"This is no price file of EC2: {error!r:.200}") from error


def _products(file: IO[bytes], sizes: frozenset[str]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Product ids with region and size."""
    for sku, product in ijson.kvitems(file, "products"):
        attributes: dict[str, Any] = product.get("attributes", {})
        if not product.get("productFamily", "").startswith("Compute Instance"):
            continue
        if any(attributes.get(name) != value for name, value in _WANTED.items()):
            continue
        size = attributes.get("instanceType", "")
        if size and (not sizes or size in sizes):
            yield sku, (attributes["regionCode"], size)


def _prices(file: IO[bytes], products: dict[str, tuple[str, str]]) -> Iterator[Offer]:
    for sku, terms in ijson.kvitems(file, "terms.OnDemand"):
        if sku not in products:
            continue
        region, size = products[sku]
        for term in terms.values():
            since = datetime.fromisoformat(term["effectiveDate"].replace("Z", "+00:00"))
            for dimension in term["priceDimensions"].values():
                price = Decimal(dimension["pricePerUnit"].get("USD", "0"))
                if dimension["unit"] == "Hrs" and price > 0:
                    yield Offer(region, size, nano_of(price), since)
