"""A small sky: static STAC catalogues of invented scenes, in the shape of CBERS-4's on AWS.

``python -m scripts.orca.demo.scenes FOLDER`` makes one; with ``--serve 8123`` it is served at that port of loopback.
See ``foreign.py`` for a catalogue that is laid out in another way.
"""

from __future__ import annotations

import argparse
import json
import posixpath
import random
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from scripts.orca.demo.scene_pictures import picture_save
from scripts.orca.demo.site import served

STAC_VERSION: Final = "1.0.0"
_EXTENSIONS: Final = [
    f"https://stac-extensions.github.io/{name}/v1.0.0/schema.json" for name in ("projection", "view", "eo", "sat")
]
_HALF_WIDTH: Final = 0.56  # degrees of a great circle, of a scene of 120 km
_TILT: Final = 0.16  # how much further west its southern edge lies, for a degree southwards
_DIFFERENT: Final = 12


@dataclass(frozen=True)
class Camera:
    """One of the satellite's: its bands by name, and metres on the ground for each pixel."""

    gsd: float
    bands: Mapping[str, str]


CAMERAS: Final[Mapping[str, Camera]] = {
    "MUX": Camera(20.0, {"B5": "blue", "B6": "green", "B7": "red", "B8": "nir"}),
    "AWFI": Camera(64.0, {"B13": "blue", "B14": "green", "B15": "red", "B16": "nir"}),
    "PAN10M": Camera(10.0, {"B2": "green", "B3": "red", "B4": "nir"}),
    "PAN5M": Camera(5.0, {"B1": "pan"}),
}


@dataclass
class Catalogue:
    """What was made: where it begins, below its folder or as an address, and its items in order."""

    folder: Path
    root: str
    items: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class _Grid:
    """Which scenes a camera has."""

    paths: Sequence[int]
    rows: Sequence[int]
    dates: Sequence[date]


@dataclass(frozen=True)
class _Scene:
    """One of them; ``folder`` is where its document lies."""

    camera: str
    path: int
    row: int
    day: date

    @property
    def name(self) -> str:
        return f"CBERS_4_{self.camera}_{self.day:%Y%m%d}_{self.path:03}_{self.row:03}_L2"

    @property
    def folder(self) -> str:
        return f"CBERS4/{self.camera}/{self.path:03}/{self.row:03}"


@dataclass(frozen=True)
class _Maker:
    """Writes documents and files; links are relative, or absolute with a ``base_url``."""

    folder: Path
    base_url: str | None
    pictures: int
    extents: bool
    covered: list[float]

    def link(self, rel: str, there: str, here: str, **more: str) -> dict[str, str]:
        return {"rel": rel, "href": self.href(there, here), **more}

    def href(self, there: str, here: str) -> str:
        """The address of one path below the folder as another has to name it."""
        if self.base_url is not None:
            return f"{self.base_url.rstrip('/')}/{there}"
        return posixpath.relpath(there, posixpath.dirname(here) or ".")

    def own(self, here: str) -> list[dict[str, str]]:
        """A document that does not know where it will lie does not say where it is."""
        return [] if self.base_url is None else [self.link("self", here, here)]

    def write(self, path: str, document: Mapping[str, Any]) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(document, indent=1), encoding="utf-8")


def catalogue_make(
    folder: Path,
    *,
    paths: Iterable[int],
    rows: Iterable[int],
    dates: Iterable[date],
    base_url: str | None = None,
    cameras: Sequence[str] = ("MUX",),
    pictures: int = _DIFFERENT,
    extents: bool = True,
) -> Catalogue:
    """A scene of each camera for each path, row and date: catalog → camera → path → row → items.

    Links are relative, or begin with ``base_url``. There are so many different ``pictures``, which scenes share; with
    none, the files that the assets name are not made. Without ``extents``, only cameras tell theirs, as with the real
    one. The same arguments make the same catalogue.
    """
    grid = _Grid(sorted(set(paths)), sorted(set(rows)), sorted(set(dates)))
    covered = [_picture(folder, number, pictures) for number in range(pictures)]
    maker = _Maker(folder, base_url, pictures, extents, covered)
    made = Catalogue(folder, "catalog.json" if base_url is None else f"{base_url.rstrip('/')}/catalog.json")
    children = [_camera_make(maker, camera, grid, made) for camera in cameras]
    maker.write(
        "catalog.json",
        _catalog(maker, "catalog.json", ("CBERS", "Catalogs of CBERS mission's imagery"), child=children),
    )
    shutil.rmtree(folder / ".pictures", ignore_errors=True)
    return made


def place_of(path: int, row: int) -> tuple[float, float]:
    """About where a scene of the satellite's reference grid has its middle: longitude and latitude."""
    latitude = 43.6 - 0.945 * (row - 51)
    longitude = 91.4 - 0.965 * (path - 17) + 0.257 * latitude
    return (longitude + 180) % 360 - 180, latitude


def _camera_make(maker: _Maker, camera: str, grid: _Grid, made: Catalogue) -> str:
    here = f"CBERS4/{camera}/collection.json"
    children, first = [], len(made.items)
    for path in grid.paths:
        place, at = f"CBERS4/{camera}/{path:03}/catalog.json", len(made.items)
        below = [_row_make(maker, camera, path, row, grid.dates, made=made) for row in grid.rows]
        said = f"CBERS4 {camera} {path:03}", f"CBERS4 {camera} camera path {path:03} catalog"
        items = made.items[at:] if maker.extents else []
        maker.write(place, _catalog(maker, place, said, parent=here, child=below, items=items))
        children.append(place)
    document = {
        **_catalog(
            maker, here, (f"CBERS4-{camera}", f"CBERS 4 {camera} imagery"), parent="catalog.json", child=children
        ),
        "type": "Collection",
        "license": "CC-BY-SA-3.0",
        "extent": extent_of(made.items[first:]),
        "summaries": {"gsd": [CAMERAS[camera].gsd], "platform": ["cbers-4"], "instruments": [camera]},
    }
    maker.write(here, document)
    return here


def _row_make(maker: _Maker, camera: str, path: int, row: int, dates: Sequence[date], *, made: Catalogue) -> str:
    scenes = [_Scene(camera, path, row, day) for day in dates]
    here = f"CBERS4/{camera}/{path:03}/{row:03}/catalog.json"
    first = len(made.items)
    for scene in scenes:
        made.items.append(_item_make(maker, scene, len(made.items)))
    said = f"CBERS4 {camera} {path:03}/{row:03}", f"CBERS4 {camera} camera path {path:03} row {row:03} catalog"
    parent = f"CBERS4/{camera}/{path:03}/catalog.json"
    items = made.items[first:] if maker.extents else []
    names = [f"{scene.folder}/{scene.name}.json" for scene in scenes]
    maker.write(here, _catalog(maker, here, said, parent=parent, item=names, items=items))
    return here


def _item_make(maker: _Maker, scene: _Scene, number: int) -> dict[str, Any]:
    name, path, row, day, camera = scene.name, scene.path, scene.row, scene.day, scene.camera
    here = f"{scene.folder}/{name}.json"
    chance = random.Random(name)  # noqa: S311 (a scene, and no secret)
    ring = _ring(path, row, chance)
    pictured = number % maker.pictures if maker.pictures else 0
    covered = maker.covered[pictured] if maker.pictures else chance.random()
    taken = datetime(day.year, day.month, day.day, 13, tzinfo=UTC) + timedelta(seconds=240 * (path - 150) + 14 * row)
    item = {
        "stac_version": STAC_VERSION,
        "stac_extensions": _EXTENSIONS,
        "id": name,
        "type": "Feature",
        "geometry": {"type": "MultiPolygon", "coordinates": [[ring]]},
        "bbox": box_of(ring),
        "collection": f"CBERS4-{camera}",
        "properties": {
            "datetime": f"{taken:%Y-%m-%dT%H:%M:%SZ}",
            "platform": "cbers-4",
            "instruments": [camera],
            "gsd": CAMERAS[camera].gsd,
            "eo:cloud_cover": round(100 * covered, 1),
            "view:sun_azimuth": round(chance.uniform(30, 150), 3),
            "view:sun_elevation": round(chance.uniform(35, 65), 4),
            "view:off_nadir": round(chance.uniform(0, 0.01), 7),
            "proj:epsg": 32600 + (100 if ring[0][1] < 0 else 0) + int((ring[0][0] + 180) // 6) + 1,
            "sat:platform_international_designator": "2014-079A",
            "sat:orbit_state": "descending",
            "cbers:data_type": "L2",
            "cbers:path": path,
            "cbers:row": row,
        },
        "links": [
            *maker.own(here),
            maker.link("root", "catalog.json", here, type="application/json"),
            maker.link("parent", f"{posixpath.dirname(here)}/catalog.json", here, type="application/json"),
            maker.link("collection", f"CBERS4/{camera}/collection.json", here, type="application/json"),
        ],
        "assets": _assets(maker, scene, here, pictured),
    }
    maker.write(here, item)
    return item


def _assets(maker: _Maker, scene: _Scene, here: str, pictured: int) -> dict[str, Any]:
    name, folder = scene.name, f"{scene.folder}/{scene.name}"
    thumbnail, metadata = f"{folder}/{name.removesuffix('_L2')}.jpg", f"{folder}/{name}_BAND.xml"
    bands = CAMERAS[scene.camera].bands
    files = {band: f"{folder}/{name}_BAND{band[1:]}.tif" for band in bands}
    if maker.pictures:
        source = maker.folder / ".pictures" / str(pictured)
        (maker.folder / folder).mkdir(parents=True, exist_ok=True)
        _link(maker.folder / thumbnail, source / "thumbnail.jpg")
        for number, file in enumerate(files.values()):
            _link(maker.folder / file, source / f"band-{number}.tif")
        said = f"<prdf><image><id>{name}</id><instrument>{scene.camera}</instrument></image></prdf>\n"
        (maker.folder / metadata).write_text(said, encoding="utf-8")
    return {
        "thumbnail": {"href": maker.href(thumbnail, here), "type": "image/jpeg", "roles": ["thumbnail"]},
        "metadata": {
            "href": maker.href(metadata, here),
            "type": "text/xml",
            "title": "INPE original metadata",
            "roles": ["metadata"],
        },
        **{
            band: {
                "href": maker.href(file, here),
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "eo:bands": [{"name": band, "common_name": bands[band]}],
                "roles": ["data"],
            }
            for band, file in files.items()
        },
    }


def _link(path: Path, there: Path) -> None:
    path.unlink(missing_ok=True)
    path.hardlink_to(there)


def _catalog(
    maker: _Maker,
    here: str,
    said: tuple[str, str],
    *,
    parent: str | None = None,
    child: Sequence[str] = (),
    item: Sequence[str] = (),
    items: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """``items`` are those whose extent it tells, where it does: a catalog may, beside what it has to."""
    links = [*maker.own(here), maker.link("root", "catalog.json", here, type="application/json")]
    links += [maker.link("parent", parent, here)] if parent else []
    links += [maker.link("child", one, here, type="application/json") for one in child]
    links += [maker.link("item", one, here, type="application/geo+json") for one in item]
    return {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": said[0],
        "description": said[1],
        "title": said[0],
        **({"extent": extent_of(items)} if items else {}),
        "links": links,
    }


def _ring(path: int, row: int, chance: random.Random) -> list[list[float]]:
    """The corners of a scene, closed, counter-clockwise; a satellite does not pass twice at the very same place."""
    longitude, latitude = place_of(path, row)
    longitude, latitude = longitude + chance.uniform(-0.03, 0.03), latitude + chance.uniform(-0.02, 0.02)
    wide = _HALF_WIDTH / max(0.2, (1 - (latitude / 90) ** 2) ** 0.5)
    corners = [(-wide, -_HALF_WIDTH), (wide, -_HALF_WIDTH), (wide, _HALF_WIDTH), (-wide, _HALF_WIDTH)]
    ring = [[round(longitude + x + _TILT * y, 6), round(latitude + y - _TILT * x, 6)] for x, y in corners]
    return [*ring, ring[0]]


def box_of(ring: Sequence[Sequence[float]]) -> list[float]:
    """West, south, east, north of a ring."""
    return [min(x for x, _ in ring), min(y for _, y in ring), max(x for x, _ in ring), max(y for _, y in ring)]


def extent_of(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The extent of items, as a collection tells it."""
    boxes = [item["bbox"] for item in items]
    times = sorted(item["properties"]["datetime"] for item in items)
    around = [edge(box[side] for box in boxes) for side, edge in enumerate((min, min, max, max))] if boxes else []
    return {
        "spatial": {"bbox": [around or [-180.0, -90.0, 180.0, 90.0]]},
        "temporal": {"interval": [[times[0], times[-1]] if times else [None, None]]},
    }


def _picture(folder: Path, number: int, of: int) -> float:
    """Draws one; among all there are clear skies and overcast ones."""
    return picture_save(folder / ".pictures" / str(number), number, 0.03 + 0.8 * number / max(1, of))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenes", type=int, default=40, help="how many, about (default: %(default)s)")
    parser.add_argument("--serve", type=int, metavar="PORT", help="serve it on loopback until Ctrl-C")
    asked = parser.parse_args()
    days = [date(2019, 1, 1) + timedelta(26 * number) for number in range(max(1, asked.scenes // 10))]
    made = catalogue_make(asked.folder, paths=range(150, 155), rows=(100, 101), dates=days)
    print(f"{len(made.items)} scenes in {asked.folder / made.root}")
    if asked.serve:
        with served(asked.folder, port=asked.serve) as site:
            print(f"Served at {site.url}/{made.root}; Ctrl-C ends it.", flush=True)
            site.wait()


if __name__ == "__main__":
    main()
