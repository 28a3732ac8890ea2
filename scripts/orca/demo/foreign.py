"""A static STAC catalogue of somebody else's: nested collections, other names, links of either kind, times that span.

Collections lie in collections (a continent, its countries), items beside each other in ``items/``; a country's links to
its items are absolute, those to collections relative, and one item has an interval instead of an instant.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from scripts.orca.demo.scene_pictures import picture_save
from scripts.orca.demo.scenes import STAC_VERSION, Catalogue, box_of, extent_of

COUNTRIES: Final[Mapping[str, Mapping[str, tuple[float, float]]]] = {
    "europe": {"norway": (10.5, 60.0), "italy": (12.5, 42.0), "portugal": (-8.5, 39.5)},
    "oceania": {"fiji": (179.7, -17.8), "new-zealand": (174.8, -41.3)},
}
_SIZE: Final = 0.4


def foreign_make(folder: Path, *, base_url: str, per_country: int = 4) -> Catalogue:
    """Make it; ``base_url`` is where the folder will be found. Fiji's scenes lie over the antimeridian."""
    base = base_url.rstrip("/")
    picture_save(folder / "files", 99, 0.3)
    made = Catalogue(folder, f"{base}/index.json")
    for continent, countries in COUNTRIES.items():
        first = len(made.items)
        for country, place in countries.items():
            items = [_item(base, country, place, index) for index in range(per_country)]
            for item in items:
                _write(folder / "items" / f"{item['id']}.json", item)
            links = [{"rel": "item", "href": f"{base}/items/{item['id']}.json"} for item in items]
            _write(folder / continent / f"{country}.json", _collection(country, items, links))
            made.items += items
        nested = [{"rel": "child", "href": f"./{country}.json"} for country in countries]
        whole = _collection(continent, made.items[first:], nested)
        _write(folder / continent / "all.json", whole)
    children = [
        {"rel": "child", "href": f"{base}/europe/all.json", "title": "Europe"},
        {"rel": "child", "href": "oceania/all.json", "title": "Oceania"},
        {"rel": "about", "href": f"{base}/about.html", "type": "text/html"},
    ]
    root = {"type": "Catalog", "stac_version": STAC_VERSION, "id": "foreign", "description": "Of somebody else."}
    _write(folder / "index.json", {**root, "links": [{"rel": "self", "href": made.root}, *children]})
    return made


def _item(base: str, country: str, place: tuple[float, float], index: int) -> dict[str, Any]:
    longitude, latitude = place
    taken = datetime(2023, 6, 1, 10, tzinfo=UTC) + timedelta(days=7 * index, minutes=len(country))
    stamp = f"{taken:%Y-%m-%dT%H:%M:%SZ}"
    until = f"{taken + timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}"
    west, east, south, north = longitude - _SIZE, longitude + _SIZE, latitude - _SIZE, latitude + _SIZE
    over = east > 180
    rings = [_ring(west, 180.0 if over else east, south, north)]
    rings += [_ring(-180.0, east - 360, south, north)] if over else []
    times = {"datetime": None, "start_datetime": stamp, "end_datetime": until} if index == 1 else {"datetime": stamp}
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [],
        "id": f"{country}-{index:02}",
        "collection": country,
        "bbox": [west, south, east - 360, north] if over else box_of(rings[0]),
        "geometry": {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}
        if over
        else {"type": "Polygon", "coordinates": rings},
        "properties": {**times, "license": "CC0-1.0", "season": ["early", "late"][index % 2]},
        "links": [{"rel": "collection", "href": f"../{_continent(country)}/{country}.json"}],
        "assets": {
            "preview": {
                "href": f"{base}/files/thumbnail.jpg",
                "type": "image/jpeg",
                "roles": ["overview", "thumbnail"],
            },
            "visual": {"href": "../files/band-2.tif", "type": "image/tiff", "roles": ["data"]},
        },
    }


def _continent(country: str) -> str:
    return next(continent for continent, countries in COUNTRIES.items() if country in countries)


def _ring(west: float, east: float, south: float, north: float) -> list[list[float]]:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return [[round(x, 6), round(y, 6)] for x, y in ring]


def _collection(name: str, items: list[dict[str, Any]], links: list[dict[str, str]]) -> dict[str, Any]:
    extent = extent_of([{**item, "properties": {"datetime": _begin(item)}} for item in items])
    if any(item["bbox"][0] > item["bbox"][2] for item in items):  # over the antimeridian
        extent["spatial"]["bbox"] = [[-180.0, -90.0, 180.0, 90.0]]
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": name,
        "description": f"Scenes of {name}",
        "license": "CC0-1.0",
        "extent": extent,
        "links": links,
    }


def _begin(item: Mapping[str, Any]) -> str:
    return str(item["properties"]["datetime"] or item["properties"]["start_datetime"])


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
