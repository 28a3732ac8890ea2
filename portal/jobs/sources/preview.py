"""What a description would find, before anybody pays for it: how much, where on the map, and when."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from portal.gateways.web import Unread
from portal.jobs.sources.description import Box, Description
from portal.jobs.sources.finding import Access, Report, TimeUp, find, paying
from portal.jobs.sources.items import Item, instant
from portal.jobs.sources.reading import Reader

MOST_FOOTPRINTS: Final = 500
MOST_BARS: Final = 60
_SAMPLES = 20


@dataclass
class Preview:
    """``at_least``: there are more. ``sizes``: whether the bytes were ``told``, ``estimated``, or are ``unknown``.

    ``footprints`` is a GeoJSON FeatureCollection, evenly taken where there are many items; ``histogram`` has pairs of
    day, month or year and count.
    """

    count: int
    at_least: bool
    bytes: int
    sizes: str
    extent: Box | None
    begin: datetime | None
    end: datetime | None
    footprints: dict[str, Any]
    histogram: list[tuple[str, int]]
    assets: dict[str, int]
    collections: dict[str, int]
    warnings: list[str]

    def written(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "count": self.count,
            "at_least": self.at_least,
            "bytes": self.bytes,
            "sizes": self.sizes,
            "extent": list(self.extent) if self.extent else None,
            "time": [each.isoformat() if each else None for each in (self.begin, self.end)],
            "footprints": self.footprints,
            "histogram": [{"time": when, "count": count} for when, count in self.histogram],
            "assets": self.assets,
            "collections": self.collections,
            "warnings": self.warnings,
        }


def preview(
    asked: Description,
    *,
    access: Access,
    check: Callable[[], None] | None = None,
    deadline: float | None = None,
    samples: int = _SAMPLES,
) -> Preview:
    """The preview; after ``deadline`` of what was found until then. Raises ``Unfound``.

    Where sizes are not told, up to ``samples`` files are asked for theirs.
    """
    report, seen = Report(), _Seen(over=bool(asked.box and asked.box[0] > asked.box[2]))
    try:
        for item in find(asked, access=access, report=report, check=check, deadline=deadline):
            seen.add(item)
    except TimeUp:
        report.warn("The search took longer than a preview waits: there may be more.")
    size, sizes = _bytes(seen, paying(access, asked), samples, check)
    warnings = [*report.warnings]
    if report.more_warnings:
        warnings.append(f"And {report.more_warnings} more warnings.")
    if not report.found:
        warnings.insert(0, "Nothing was found: try a larger box, a longer time or other collections.")
    days = sorted(seen.days)
    return Preview(
        count=report.found,
        at_least=not report.complete,
        bytes=size,
        sizes=sizes,
        extent=seen.extent(),
        begin=seen.begin,
        end=seen.end,
        footprints={"type": "FeatureCollection", "features": [_footprint(item) for item in seen.some]},
        histogram=_histogram({day: seen.days[day] for day in days}),
        assets=dict(seen.assets),
        collections=dict(seen.collections),
        warnings=warnings,
    )


@dataclass
class _Seen:
    """What is remembered of items: sums, and evenly taken some of them."""

    over: bool
    count: int = 0
    step: int = 1
    some: list[Item] = field(default_factory=list)
    bytes: int = 0
    untold: Counter[str] = field(default_factory=Counter)
    assets: Counter[str] = field(default_factory=Counter)
    collections: Counter[str] = field(default_factory=Counter)
    days: Counter[str] = field(default_factory=Counter)
    begin: datetime | None = None
    end: datetime | None = None
    box: Box | None = None

    def add(self, item: Item) -> None:
        """Count an item in."""
        if self.count % self.step == 0:
            self.some.append(item)
            if len(self.some) > MOST_FOOTPRINTS:
                self.some, self.step = self.some[::2], self.step * 2
        self.count += 1
        for name, asset in item.assets.items():
            self.assets[name] += 1
            if asset.size is None:
                self.untold[name] += 1
            else:
                self.bytes += asset.size
        if item.collection:
            self.collections[item.collection] += 1
        if when := instant(item.datetime):
            self.days[f"{when:%Y-%m-%d}"] += 1
            self.begin = min(self.begin or when, when)
            self.end = max(self.end or when, when)
        if item.bbox:
            self._widen(item.bbox)

    def _widen(self, given: Box) -> None:
        west, south, east, north = given
        self.over = self.over or west > east
        if self.over:
            # Longitudes are counted eastwards from 0 to 360, where the antimeridian is nothing special.
            west, east = west % 360, east % 360
        if self.box is None:
            self.box = west, south, east, north
        else:
            old = self.box
            self.box = min(old[0], west), min(old[1], south), max(old[2], east), max(old[3], north)

    def extent(self) -> Box | None:
        """The box around all of them."""
        if self.box is None or not self.over:
            return self.box
        west, south, east, north = self.box
        return (west + 180) % 360 - 180, south, (east + 180) % 360 - 180, north


def _bytes(seen: _Seen, access: Access, samples: int, check: Callable[[], None] | None) -> tuple[int, str]:
    if not seen.untold:
        return seen.bytes, "told"
    told = _sampled(seen, access, samples, check)
    if not told:
        return seen.bytes, "unknown"
    every = [size for sizes in told.values() for size in sizes]
    mean = sum(every) / len(every)
    more = sum(
        count * (sum(told[name]) / len(told[name]) if told.get(name) else mean) for name, count in seen.untold.items()
    )
    return seen.bytes + int(more), "estimated"


def _sampled(seen: _Seen, access: Access, samples: int, check: Callable[[], None] | None) -> Mapping[str, list[int]]:
    """Sizes by the asset's name, of files taken evenly; those that do not tell are left out."""
    untold = [
        (name, asset.href)
        for item in seen.some
        for name, asset in item.assets.items()
        if asset.size is None and asset.href
    ]
    chosen = untold[:: max(1, len(untold) // samples)][:samples] if samples else []
    if not chosen:
        return {}
    found: dict[str, list[int]] = {}
    hurried = replace(access, within=min(access.within, 3.0), kept=None)
    with Reader(hurried, check=check, deadline=None) as reader:

        async def ask() -> list[int | BaseException | None]:
            return await asyncio.gather(*(reader.length(href) for _, href in chosen), return_exceptions=True)

        for (name, _), size in zip(chosen, reader.run(ask()), strict=True):
            if isinstance(size, int):
                found.setdefault(name, []).append(size)
            elif isinstance(size, BaseException) and not isinstance(size, Unread):
                raise size
    return found


def _footprint(item: Item) -> dict[str, Any]:
    """An item as GeoJSON, for a map."""
    thumbnail = next((each.href for each in item.assets.values() if "thumbnail" in each.roles), "")
    return {
        "type": "Feature",
        "id": item.id,
        "geometry": item.geometry or _rectangle(item.bbox),
        "properties": {
            "id": item.id,
            "collection": item.collection,
            "datetime": item.datetime,
            "thumbnail": thumbnail if thumbnail.startswith("http") else "",
        },
    }


def _rectangle(box: Box | None) -> dict[str, Any] | None:
    if box is None:
        return None
    west, south, east, north = box
    east += 360 if west > east else 0
    return {
        "type": "Polygon",
        "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
    }


def _histogram(days: Mapping[str, int]) -> list[tuple[str, int]]:
    """Counts by day, or by month or year where those would be too many bars."""
    for length in (10, 7, 4):
        bars: Counter[str] = Counter()
        for day, count in days.items():
            bars[day[:length]] += count
        if len(bars) <= MOST_BARS or length == 4:
            return sorted(bars.items())
    return []
