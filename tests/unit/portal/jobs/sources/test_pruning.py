"""What cannot hold anything that is asked for is not read; what does not tell where it lies is."""

from __future__ import annotations

from typing import Any

import pytest

from portal.jobs.sources.matching import overlap
from tests.fixtures.catalogues import Site, catalog, collection, scene
from tests.unit.portal.jobs.sources.conftest import names, search


@pytest.fixture
def world(site: Site) -> Site:
    """West and east, early and late, and one that tells nothing."""
    early, late = ("2010-01-01T00:00:00Z", "2011-01-01T00:00:00Z"), ("2020-01-01T00:00:00Z", None)
    places: dict[str, tuple[Any, Any, float, str]] = {
        "west-early": ([-60, -20, -50, -10], early, -55, "2010-06-01T00:00:00Z"),
        "west-late": ([-60, -20, -50, -10], late, -55, "2020-06-01T00:00:00Z"),
        "east-late": ([50, -20, 60, -10], late, 55, "2020-06-01T00:00:00Z"),
        "untold": (None, None, -55, "2020-06-01T00:00:00Z"),
    }
    site.pages["/catalog.json"] = catalog("root", [("child", f"{name}/collection.json") for name in places])
    for name, (bbox, interval, west, when) in places.items():
        site.pages[f"/{name}/collection.json"] = collection(name, [("item", "1.json")], bbox=bbox, interval=interval)
        site.pages[f"/{name}/1.json"] = scene(f"{name}-1", at=(west, -15), when=when, collection=name)
    return site


def read(site: Site) -> list[str]:
    """The items whose documents were read."""
    return sorted(path.split("/")[1] for path in site.paths() if path.endswith("/1.json"))


def test_by_place(world: Site) -> None:
    found, report = search(world, bbox=[-56, -16, -54, -14])
    assert names(found) == ["west-early-1", "west-late-1", "untold-1"]
    assert read(world) == ["untold", "west-early", "west-late"]
    assert report.pruned == 1


def test_by_time(world: Site) -> None:
    found, _ = search(world, time=["2019-01-01T00:00:00Z", ".."])
    assert names(found) == ["west-late-1", "east-late-1", "untold-1"]
    assert read(world) == ["east-late", "untold", "west-late"]


def test_by_collection(world: Site) -> None:
    found, _ = search(world, collections=["east-late"])
    assert names(found) == ["east-late-1"]
    assert read(world) == ["east-late"]


def test_a_collection_that_is_not_there_is_told_with_those_that_are(world: Site) -> None:
    found, report = search(world, collections=["east-lat"])
    assert found == []
    assert "There is no collection east-lat. Do you mean east-late?" in report.warnings[0]


def test_catalogues_below_another_collection_are_not_walked(site: Site) -> None:
    """Cameras of one satellite: asking for one does not read the paths and rows of the others."""
    cameras = ("MUX", "AWFI")
    site.pages["/catalog.json"] = catalog("CBERS", [("child", f"{name}/collection.json") for name in cameras])
    for name in cameras:
        site.pages[f"/{name}/collection.json"] = collection(name, [("child", "1/catalog.json")])
        site.pages[f"/{name}/1/catalog.json"] = catalog("1", [("item", f"{n}.json") for n in range(5)], extent={})
        site.pages |= {f"/{name}/1/{n}.json": scene(f"{name}{n}", collection=name) for n in range(5)}
    found, _ = search(site, collections=["MUX"])
    assert names(found) == [f"MUX{n}" for n in range(5)]
    assert not [path for path in site.paths() if path.startswith("/AWFI/1/") and not path.endswith("catalog.json")]


def test_catalogues_that_tell_an_extent_are_pruned_and_are_no_collections(site: Site) -> None:
    far = {"spatial": {"bbox": [[100, 0, 110, 10]]}}
    site.pages |= {
        "/catalog.json": catalog("root", [("child", "far.json"), ("item", "one.json")]),
        "/far.json": catalog("far", [("item", "two.json")], extent=far),
        "/one.json": scene("one"),
        "/two.json": scene("two", at=(105, 5)),
    }
    found, report = search(site, bbox=[0, 0, 5, 5])
    assert (names(found), report.pruned, report.collections) == (["one"], 1, [])
    assert "/two.json" not in site.paths()


def test_properties(site: Site) -> None:
    site.pages["/catalog.json"] = catalog("root", [("item", f"{n}.json") for n in range(4)])
    clouds: dict[int, Any] = {0: 5, 1: 50, 2: None, 3: "many"}
    for number, cover in clouds.items():
        properties: dict[str, Any] = {"eo:cloud_cover": cover, "cbers:path": number}
        site.pages[f"/{number}.json"] = scene(str(number), **properties)
    assert names(search(site, query={"eo:cloud_cover": {"lt": 20}})[0]) == ["0"]
    assert names(search(site, query={"eo:cloud_cover": {"gte": 5, "lte": 50}})[0]) == ["0", "1"]
    assert names(search(site, query={"cbers:path": 3})[0]) == ["3"]
    assert names(search(site, query={"cbers:path": {"in": [1, 2]}})[0]) == ["1", "2"]
    assert names(search(site, query={"eo:cloud_cover": {"startsWith": "ma"}})[0]) == ["3"]
    assert names(search(site, query={"nobody:has": {"neq": 1}})[0]) == []


@pytest.mark.parametrize(
    ("one", "other", "is_so"),
    [
        ((0, 0, 1, 1), (1, 1, 2, 2), True),
        ((0, 0, 1, 1), (1.1, 0, 2, 1), False),
        ((0, 0, 1, 1), (0, 1.1, 1, 2), False),
        ((170, -10, -170, 10), (175, 0, 176, 1), True),
        ((170, -10, -170, 10), (-176, 0, -175, 1), True),
        ((170, -10, -170, 10), (0, 0, 1, 1), False),
        ((170, -10, -170, 10), (178, -1, -178, 1), True),
        ((179, 0, 180, 1), (-180, 0, -179, 1), True),
    ],
)
def test_boxes_over_the_antimeridian_overlap_as_on_a_globe(one: Any, other: Any, is_so: bool) -> None:
    assert overlap(one, other) is is_so
    assert overlap(other, one) is is_so


def test_items_are_found_over_the_antimeridian(site: Site) -> None:
    site.pages["/catalog.json"] = catalog("root", [("item", f"{n}.json") for n in range(3)])
    for number, west in enumerate((178.0, -179.5, 0.0)):
        site.pages[f"/{number}.json"] = scene(str(number), at=(west, 0))
    assert names(search(site, bbox=[177, -5, -177, 5])[0]) == ["0", "1"]


def test_an_item_without_place_or_time_is_not_asked_for_by_either(site: Site) -> None:
    lost = scene("lost", when=None) | {"geometry": None}
    del lost["bbox"]
    site.pages |= {"/catalog.json": catalog("root", [("item", "lost.json")]), "/lost.json": lost}
    assert names(search(site)[0]) == ["lost"]
    assert names(search(site, bbox=[-180, -90, 180, 90])[0]) == []
    assert names(search(site, time=["1900-01-01T00:00:00Z", ".."])[0]) == []


def test_an_item_that_lasts_is_found_by_any_moment_of_it(site: Site) -> None:
    site.pages |= {
        "/catalog.json": catalog("root", [("item", "long.json")]),
        "/long.json": scene(
            "long", when=None, start_datetime="2020-01-01T00:00:00Z", end_datetime="2020-02-01T00:00:00Z"
        ),
    }
    assert names(search(site, time=["2020-01-10T00:00:00Z", "2020-01-11T00:00:00Z"])[0]) == ["long"]
    assert names(search(site, time=["2020-02-02T00:00:00Z", ".."])[0]) == []
