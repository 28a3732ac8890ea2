"""The invented sky and somebody else's are found by what a person may say of them; the example says it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from portal.jobs.sources import Item, Report, checked, find
from scripts.orca.demo.foreign import foreign_make
from scripts.orca.demo.scenes import catalogue_make
from scripts.orca.demo.site import Site, served
from scripts.orca.paths import ROOT
from tests.unit.portal.jobs.sources.conftest import QUICK

EXAMPLE = ROOT / "examples" / "cbers"
DATES = (date(2018, 12, 6), date(2019, 1, 1), date(2019, 1, 27))


@pytest.fixture
def sky(tmp_path: Path) -> Iterator[Site]:
    with served(tmp_path) as site:
        yield site


def found(**data: Any) -> tuple[list[Item], Report]:
    report = Report()
    return list(find(checked({"kind": "stac", **data}), access=QUICK, report=report)), report


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
def test_the_example_finds_its_part_of_the_small_sky(tmp_path: Path, sky: Site, absolute: bool) -> None:
    made = catalogue_make(
        tmp_path,
        paths=(150, 151, 170),
        rows=(100, 101),
        dates=DATES,
        cameras=("MUX", "AWFI"),
        base_url=sky.url if absolute else None,
        pictures=0,
    )
    asked = json.loads((EXAMPLE / "data.json").read_text())
    items, report = found(**{**asked, "url": f"{sky.url}/catalog.json"})
    assert [item.id for item in items] == [
        item["id"]
        for item in made.items
        if item["collection"] == "CBERS4-MUX"
        and item["properties"]["cbers:path"] < 160
        and item["properties"]["datetime"] > "2019"
    ]
    assert len(items) == 8
    assert report.pruned > 0
    assert not [path for path in sky.requests if "/170/100/" in path or "/AWFI/150/100/" in path]
    assert set(report.collections) == {"CBERS4-MUX", "CBERS4-AWFI"}
    line = json.loads(items[0].line())
    thumbnail = "CBERS4/MUX/150/100/CBERS_4_MUX_20190101_150_100_L2/CBERS_4_MUX_20190101_150_100.jpg"
    assert {name: asset["href"] for name, asset in line["assets"].items()} == {"thumbnail": f"{sky.url}/{thumbnail}"}


def test_another_camera_is_another_id(tmp_path: Path, sky: Site) -> None:
    catalogue_make(tmp_path, paths=(150,), rows=(100,), dates=DATES, cameras=("MUX", "PAN5M"), pictures=0)
    items, _ = found(url=f"{sky.url}/catalog.json", collections=["CBERS4-PAN5M"], assets=["data"])
    assert [item.id for item in items] == [f"CBERS_4_PAN5M_{day:%Y%m%d}_150_100_L2" for day in DATES]
    assert set(json.loads(items[0].line())["assets"]) == {"B1"}


def test_clear_skies_can_be_asked_for(tmp_path: Path, sky: Site) -> None:
    made = catalogue_make(tmp_path, paths=(150, 151), rows=(100, 101), dates=DATES, pictures=0)
    items, _ = found(url=f"{sky.url}/catalog.json", query={"eo:cloud_cover": {"lt": 30}})
    clear = {item["id"] for item in made.items if item["properties"]["eo:cloud_cover"] < 30}
    assert 0 < len(clear) < 12
    assert {item.id for item in items} == clear


def test_somebody_elses_catalogue_is_found_whole_and_in_parts(tmp_path: Path, sky: Site) -> None:
    made = foreign_make(tmp_path, base_url=sky.url, per_country=3)
    everything, report = found(url=made.root)
    assert (sorted(item.id for item in everything), report.failed) == (sorted(item["id"] for item in made.items), 0)
    fiji, _ = found(url=made.root, bbox=[[179.5, -18.5], [-179.5, -17.0]])  # over the antimeridian
    assert [item.id for item in fiji] == ["fiji-00", "fiji-01", "fiji-02"]
    nested, _ = found(url=made.root, collections=["italy"])
    assert [item.id for item in nested] == ["italy-00", "italy-01", "italy-02"]
    later, _ = found(url=made.root, collections=["italy"], time=["2023-06-08T10:07:00Z", ".."])
    assert [item.id for item in later] == ["italy-01", "italy-02"]  # the first of these is an interval


def test_the_examples_job_is_one() -> None:
    schema = json.loads((ROOT / "portal/jobs/job.schema.json").read_text())
    jsonschema.validate(yaml.safe_load((EXAMPLE / "job.yaml").read_text()), schema)
