"""The invented sky: every link leads somewhere, every extent holds what lies below it, and it is the same each time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from PIL import Image

from scripts.orca.demo.foreign import foreign_make
from scripts.orca.demo.scenes import catalogue_make, place_of
from scripts.orca.demo.site import Site, served

DATES = (date(2019, 1, 1), date(2019, 1, 27))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with served(tmp_path) as site:
        yield site


def walked(url: str, within: Sequence[dict[str, Any]] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    """The items below a catalogue; each must lie in the extents of all that it is in."""
    document = httpx.get(url).raise_for_status().json()
    around = [*within, document["extent"]] if "extent" in document else list(within)
    for link in document["links"]:
        there = urljoin(url, link["href"])
        if link["rel"] in {"root", "parent", "self", "collection"}:
            assert httpx.get(there).json()["type"] in {"Catalog", "Collection"}
        if link["rel"] == "child":
            yield from walked(there, around)
        if link["rel"] == "item":
            item = httpx.get(there).raise_for_status().json()
            assert all(holds(extent, item) for extent in around), (there, around)
            yield there, item


def holds(extent: dict[str, Any], item: dict[str, Any]) -> bool:
    west, south, east, north = extent["spatial"]["bbox"][0]
    box = item["bbox"]
    when = item["properties"]["datetime"] or item["properties"]["start_datetime"]
    first, last = extent["temporal"]["interval"][0]
    across = (west, east) == (-180, 180) or (west <= box[0] and east >= box[2])
    return bool(across and south <= box[1] and north >= box[3] and first <= when <= last)


def test_a_scene_for_each_path_row_and_date(tmp_path: Path, site: Site) -> None:
    made = catalogue_make(tmp_path, paths=(150, 151), rows=(100,), dates=DATES, pictures=2)
    found = dict(walked(f"{site.url}/{made.root}"))
    assert [item["id"] for item in found.values()] == [
        "CBERS_4_MUX_20190101_150_100_L2",
        "CBERS_4_MUX_20190127_150_100_L2",
        "CBERS_4_MUX_20190101_151_100_L2",
        "CBERS_4_MUX_20190127_151_100_L2",
    ]
    assert list(found.values()) == made.items
    assert made.items[0]["properties"]["cbers:path"] == 150
    for url, item in found.items():
        ring = item["geometry"]["coordinates"][0][0]
        assert ring[0] == ring[-1]
        longitudes, latitudes = zip(*ring, strict=True)
        assert item["bbox"] == [min(longitudes), min(latitudes), max(longitudes), max(latitudes)]
        assert set(item["assets"]) == {"thumbnail", "metadata", "B5", "B6", "B7", "B8"}
        for asset in item["assets"].values():
            assert not asset["href"].startswith("http")
            assert httpx.get(urljoin(url, asset["href"])).raise_for_status().content


def test_thumbnails_are_pictures_of_their_size(tmp_path: Path) -> None:
    made = catalogue_make(tmp_path, paths=(150,), rows=(100, 101), dates=DATES, pictures=3)
    thumbnails = sorted(tmp_path.rglob("*.jpg"))
    assert len(thumbnails) == 4
    with Image.open(thumbnails[0]) as picture:
        assert (picture.size, picture.format, picture.mode) == ((730, 695), "JPEG", "RGB")
    assert len({path.read_bytes() for path in thumbnails}) == 3
    assert sorted(path.stem + "_L2" for path in thumbnails) == sorted(item["id"] for item in made.items)
    cloudy = [item["properties"]["eo:cloud_cover"] for item in made.items]
    assert cloudy[0] < 20 < cloudy[2]
    assert all(tif.stat().st_size < 30_000 for tif in tmp_path.rglob("*.tif"))


def test_the_same_arguments_make_the_same_sky(tmp_path: Path) -> None:
    for name in ("one", "two", "two"):
        catalogue_make(tmp_path / name, paths=(150,), rows=(100,), dates=DATES, pictures=1)
    one, two = ({str(p.relative_to(tmp_path / n)): p for p in (tmp_path / n).rglob("*.*")} for n in ("one", "two"))
    assert sorted(one) == sorted(two)
    assert all(one[path].is_dir() or one[path].read_bytes() == two[path].read_bytes() for path in one)


def test_links_are_absolute_where_it_is_known_what_they_begin_with(tmp_path: Path, site: Site) -> None:
    made = catalogue_make(
        tmp_path / "sky", paths=(150,), rows=(100,), dates=DATES, base_url=f"{site.url}/sky", pictures=0
    )
    assert made.root == f"{site.url}/sky/catalog.json"
    hrefs = [link["href"] for path in tmp_path.rglob("*.json") for link in json.loads(path.read_text())["links"]]
    assert all(href.startswith(f"{site.url}/sky/") for href in hrefs)
    assert [item for _, item in walked(made.root)] == made.items
    assert list(tmp_path.rglob("*.jpg")) == []


def test_other_cameras_have_their_own_collections_and_bands(tmp_path: Path, site: Site) -> None:
    made = catalogue_make(
        tmp_path, paths=(150,), rows=(100,), dates=DATES[:1], cameras=("MUX", "PAN5M"), pictures=1, extents=False
    )
    (_, mux), (_, pan) = walked(f"{site.url}/{made.root}")
    assert (mux["collection"], pan["collection"]) == ("CBERS4-MUX", "CBERS4-PAN5M")
    assert set(pan["assets"]) == {"thumbnail", "metadata", "B1"}
    collection = json.loads((tmp_path / "CBERS4/PAN5M/collection.json").read_text())
    assert (collection["type"], collection["id"]) == ("Collection", "CBERS4-PAN5M")
    assert "extent" in collection
    assert "extent" not in json.loads((tmp_path / "CBERS4/PAN5M/150/catalog.json").read_text())


def test_scenes_lie_where_the_satellite_would_see_them() -> None:
    longitude, latitude = place_of(150, 107)  # over the north east of Brazil
    assert -43 < longitude < -35
    assert -12 < latitude < -6
    assert place_of(373, 100)[0] > 0  # around the world


def test_somebody_elses_catalogue_is_laid_out_in_another_way(tmp_path: Path, site: Site) -> None:
    made = foreign_make(tmp_path, base_url=site.url, per_country=2)
    found = dict(walked(made.root))
    assert sorted(item["id"] for item in found.values()) == sorted(item["id"] for item in made.items)
    assert len(found) == 10
    hrefs = [link["href"] for path in tmp_path.rglob("*.json") for link in json.loads(path.read_text())["links"]]
    assert {href.startswith("http") for href in hrefs} == {True, False}
    assert made.items[1]["properties"]["datetime"] is None
    fiji = next(item for item in made.items if item["id"] == "fiji-00")
    assert fiji["bbox"][0] > fiji["bbox"][2]  # over the antimeridian
    for url, item in found.items():
        for asset in item["assets"].values():
            assert httpx.get(urljoin(url, asset["href"])).raise_for_status().content


def test_a_site_can_be_slow_and_tells_what_it_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    with served(tmp_path, latency=0.2) as site:
        began = time.monotonic()
        assert httpx.get(f"{site.url}/a").text == "a"
        assert time.monotonic() - began > 0.2
        assert httpx.get(f"{site.url}/b").status_code == 404
        assert site.requests == ["/a", "/b"]
