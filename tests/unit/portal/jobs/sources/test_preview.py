"""Before a job is paid for: how many items, how large, where and when; of many items only some are drawn."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

from portal.jobs.sources import Preview, checked, preview
from tests.fixtures.catalogues import Said, Site, catalog, scene
from tests.unit.portal.jobs.sources.conftest import QUICK


def previewed(site: Site, *, within: float = 30, **data: Any) -> Preview:
    asked = checked({"kind": "stac", "url": f"{site.url}/catalog.json", **data})
    return preview(asked, access=QUICK, deadline=time.monotonic() + within)


def many(site: Site, scenes: list[dict[str, Any]]) -> None:
    """All of them in one document."""
    site.pages["/catalog.json"] = {"type": "FeatureCollection", "features": scenes, "links": []}


def test_what_is_told(site: Site) -> None:
    many(site, [scene(f"s{n}", at=(n, -n), when=f"2020-01-{n % 3 + 1:02}T00:00:00Z") for n in range(9)])
    found = previewed(site)
    assert (found.count, found.at_least, found.bytes, found.sizes) == (9, False, 9 * 6000, "told")
    assert found.extent == (0, -8, 9, 1)
    assert found.histogram == [("2020-01-01", 3), ("2020-01-02", 3), ("2020-01-03", 3)]
    assert found.assets == {"thumbnail": 9, "B5": 9}
    assert found.collections == {"MUX": 9}
    footprint = found.footprints["features"][0]
    assert footprint["properties"]["thumbnail"] == f"{site.url}/s0.jpg"
    assert footprint["geometry"]["type"] == "Polygon"
    assert json.loads(json.dumps(found.written()))["time"] == ["2020-01-01T00:00:00+00:00", "2020-01-03T00:00:00+00:00"]


def test_of_many_some_are_drawn_from_everywhere(site: Site) -> None:
    many(site, [scene(f"s{n}", at=(n / 100, 0)) for n in range(3_000)])
    found = previewed(site)
    drawn = [each["geometry"]["coordinates"][0][0][0] for each in found.footprints["features"]]
    assert found.count == 3_000
    assert 250 <= len(drawn) <= 500
    assert min(drawn) < 1
    assert max(drawn) > 29


def test_many_days_are_told_by_month(site: Site) -> None:
    many(site, [scene(f"s{n}", when=f"2020-{n % 12 + 1:02}-{n % 28 + 1:02}T00:00:00Z") for n in range(400)])
    found = previewed(site).histogram
    assert len(found) == 12
    assert sum(count for _, count in found) == 400


def test_sizes_that_are_not_told_are_asked_for_and_estimated(site: Site) -> None:
    assets = {"B5": {"href": "b5.tif"}, "thumb": {"href": "t.jpg", "file:size": 10}}
    many(site, [scene(f"s{n}", assets=assets) for n in range(40)])
    site.pages["/b5.tif"] = Said(body=b"x" * 1_000)
    found = previewed(site)
    assert (found.bytes, found.sizes) == (40 * 1_010, "estimated")
    assert len([path for path in site.paths() if path == "/b5.tif"]) <= 20


def test_sizes_that_nobody_tells_are_unknown(site: Site) -> None:
    many(site, [scene("one", assets={"B5": {"href": "gone.tif"}})])
    assert previewed(site).sizes == "unknown"


def test_more_than_the_limit_is_at_least(site: Site) -> None:
    many(site, [scene(f"s{n}") for n in range(9)])
    found = previewed(site, limit=5)
    assert (found.count, found.at_least) == (5, True)


def test_a_slow_source_gives_what_was_found_until_then(site: Site) -> None:
    site.pages |= {
        "/catalog.json": catalog("root", [("item", "one.json"), ("item", "slow.json")]),
        "/one.json": scene("one"),
        "/slow.json": Said(after=30),
    }
    asked = checked({"kind": "stac", "url": f"{site.url}/catalog.json"})
    access = dataclasses.replace(QUICK, within=20)
    found = preview(asked, access=access, deadline=time.monotonic() + 1)
    assert (found.count, found.at_least) == (1, True)
    assert "may be more" in found.warnings[0]


def test_nothing_is_told_with_what_to_do(site: Site) -> None:
    many(site, [])
    found = previewed(site)
    assert (found.count, found.extent, found.histogram) == (0, None, [])
    assert "larger box" in found.warnings[0]


def test_an_extent_over_the_antimeridian_is_not_the_whole_globe(site: Site) -> None:
    many(site, [scene("west", at=(178, 0)), scene("east", at=(-179.5, 0))])
    assert previewed(site, bbox=[175, -5, -175, 5]).extent == (178, 0, -178.5, 1)
