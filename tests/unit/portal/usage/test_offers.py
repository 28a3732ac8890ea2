"""AWS's price file of EC2 is read as it comes: only Linux on shared hardware, on demand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from portal.usage.models import Price

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("list_prices")]
LINUX = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "capacitystatus": "Used",
    "preInstalledSw": "NA",
    "licenseModel": "No License required",
    "regionCode": "eu-central-1",
    "instanceType": "t3.small",
}


def product(sku: str, **other: str) -> dict[str, Any]:
    family = other.pop("productFamily", "Compute Instance")
    return {sku: {"sku": sku, "productFamily": family, "attributes": {**LINUX, **other}}}


def term(sku: str, dollars: str, since: str = "2026-11-01T00:00:00Z", unit: str = "Hrs") -> dict[str, Any]:
    dimension = {"unit": unit, "pricePerUnit": {"USD": dollars}}
    return {sku: {f"{sku}.JRTCKXETXF": {"effectiveDate": since, "priceDimensions": {"x": dimension}}}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = {
        "formatVersion": "v1.0",
        "products": {
            **product("A"),
            **product("B", instanceType="c7i.large"),
            **product("WINDOWS", operatingSystem="Windows"),
            **product("DEDICATED", tenancy="Dedicated"),
            **product("SQL", preInstalledSw="SQL Std"),
            **product("RESERVED", capacitystatus="UnusedCapacityReservation"),
            **product("DISK", productFamily="Storage"),
        },
        "terms": {
            "OnDemand": {
                **term("A", "0.0250000000"),
                **term("B", "0.1017500000"),
                **term("WINDOWS", "9"),
                **term("DEDICATED", "9"),
                **term("SQL", "9"),
                **term("RESERVED", "9"),
                **term("DISK", "9"),
            },
            "Reserved": term("A", "0.01"),
        },
    }
    path = tmp_path / "index.json"
    path.write_text(json.dumps(found))
    return path


def imported() -> list[tuple[str, int]]:
    return list(Price.objects.filter(source="index.json").order_by("size").values_list("size", "nano"))


def test_a_new_price_is_added_to_those_before(file: Path, capsys: Any) -> None:
    call_command("import_prices", file=str(file))
    assert imported() == [("c7i.large", 101_750_000), ("t3.small", 25_000_000)]
    assert Price.objects.filter(size="t3.small").count() == 2
    call_command("import_prices", file=str(file))
    assert Price.objects.filter(size="t3.small").count() == 2
    assert "0 of them new" in capsys.readouterr().out


def test_only_some_sizes(file: Path) -> None:
    call_command("import_prices", file=str(file), sizes="t3.small")
    assert imported() == [("t3.small", 25_000_000)]


def test_what_is_as_it_was_is_no_new_price(file: Path) -> None:
    file.write_text(file.read_text().replace("0.0250000000", "0.0240000000"))
    call_command("import_prices", file=str(file))
    assert imported() == [("c7i.large", 101_750_000)]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"products": 5}', '{"products": {"A": 1}}'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(CommandError):
        call_command("import_prices", file=str(path))
