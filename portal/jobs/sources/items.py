"""An item as a job's manifest holds it: one line of JSON, made of what a catalogue says about a scene."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from portal.jobs.sources.description import Box

MOST_OF_ID: Final = 512
MOST_OF_LINE: Final = 1024 * 1024
_WHOLE = ("https://", "http://", "s3://")
# Names below the folder that a document is in: nothing that leads up, out, or to a query.
_PLAIN = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*", re.ASCII)


class NoItem(ValueError):
    """This is no item that a job could work on; the text says why."""


@dataclass(slots=True)
class Asset:
    """A file of an item: at an address, or under a key of the workspace's own bucket. ``size`` in bytes, if told."""

    href: str = ""
    key: str = ""
    type: str = ""
    title: str = ""
    roles: tuple[str, ...] = ()
    size: int | None = None
    requester_pays: bool = False

    def written(self) -> dict[str, Any]:
        """As it stands in a manifest."""
        found: dict[str, Any] = {"key": self.key} if self.key else {"href": self.href}
        if self.requester_pays:
            found["requester_pays"] = True
        for name, value in (("type", self.type), ("title", self.title)):
            if value:
                found[name] = value
        return found if self.size is None else found | {"size": self.size}


@dataclass(slots=True)
class Item:
    """What one line of a manifest says. ``bbox``: west, south, east, north; ``source``: the item's own address."""

    id: str
    source: str
    assets: Mapping[str, Asset]
    collection: str | None = None
    datetime: str | None = None
    bbox: Box | None = None
    geometry: Mapping[str, Any] | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int | None:
        """The bytes of all its assets; nothing where one of them does not tell."""
        sizes = [asset.size for asset in self.assets.values()]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def line(self) -> str:
        """The manifest's line, without its end."""
        written = {
            "id": self.id,
            "collection": self.collection,
            "datetime": self.datetime,
            "bbox": self.bbox,
            "geometry": self.geometry,
            "properties": self.properties,
            "source": self.source,
            "assets": {name: asset.written() for name, asset in self.assets.items()},
        }
        try:
            return _dumped(written)
        except ValueError:  # a number like 1e999, which JSON can write and cannot hold
            return _dumped(json.loads(json.dumps(written), parse_constant=lambda _: None))


def _dumped(written: Mapping[str, Any]) -> str:
    # A surrogate half, which JSON can write as well, has no place in a file of UTF-8: such are left escaped.
    text = json.dumps(written, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text if text.isascii() or _encodable(text) else json.dumps(written, separators=(",", ":"), allow_nan=False)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def stac_item(value: Mapping[str, Any], source: str, *, wanted: Sequence[str], requester_pays: bool) -> Item:
    """The item that a STAC document describes. Raises ``NoItem``.

    ``source``: the address that it was read from, which what it says of its assets is relative to.
    """
    name, properties = value.get("id"), value.get("properties")
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str) or not name or len(name) > MOST_OF_ID:
        raise NoItem("has no id")
    if not isinstance(properties, Mapping):
        raise NoItem("has no properties")
    geometry, collection = value.get("geometry"), value.get("collection")
    return Item(
        id=name,
        source=source,
        collection=collection if isinstance(collection, str) else None,
        datetime=_instant(properties),
        bbox=bbox(value),
        geometry=geometry if isinstance(geometry, Mapping) else None,
        properties=properties,
        assets=_assets(value.get("assets"), source, wanted, requester_pays),
    )


def links(value: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A document's links that have a relation and an address."""
    given = value.get("links")
    for link in given if isinstance(given, list) else ():
        if isinstance(link, dict) and isinstance(link.get("rel"), str) and isinstance(link.get("href"), str):
            yield link


def own_address(value: Mapping[str, Any], page: str) -> str:
    """Where an item that came in a list of several has its own document."""
    for link in links(value):
        if link["rel"] == "self":
            with suppress(ValueError):
                return joined(page, link["href"])
    return page


def span(properties: Mapping[str, Any]) -> tuple[datetime, datetime] | None:
    """From when to when an item is; nothing where it does not tell."""
    at = instant(properties.get("datetime"))
    if at is not None:
        return at, at
    begin, end = instant(properties.get("start_datetime")), instant(properties.get("end_datetime"))
    return (begin, end) if begin and end else None


def instant(text: object) -> datetime | None:
    """A moment as a catalogue tells it; without a zone it is UTC, as STAC demands."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def bbox(value: Mapping[str, Any]) -> Box | None:
    """The box of a document, of its ``bbox`` or its geometry; heights are left out."""
    given = value.get("bbox")
    if isinstance(given, Sequence) and (found := box(given)):
        return found
    geometry = value.get("geometry")
    if not isinstance(geometry, Mapping):
        return None
    points = list(_points(geometry.get("coordinates")))
    if not points:
        return None
    return (
        min(x for x, _ in points),
        min(y for _, y in points),
        max(x for x, _ in points),
        max(y for _, y in points),
    )


def box(given: Sequence[Any]) -> Box | None:
    """Four or six numbers as west, south, east, north."""
    if len(given) not in {4, 6} or not all(_is_number(each) for each in given):
        return None
    west, south, east, north = given if len(given) == 4 else (given[0], given[1], given[3], given[4])
    return float(west), float(south), float(east), float(north)


def _points(coordinates: object) -> Iterable[tuple[float, float]]:
    """Every position within coordinates, however they are nested."""
    waiting = [coordinates]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, list):
            continue
        if len(each) > 1 and _is_number(each[0]) and _is_number(each[1]):
            yield float(each[0]), float(each[1])
        else:
            waiting.extend(each)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _instant(properties: Mapping[str, Any]) -> str | None:
    found = span(properties)
    return found[0].isoformat().replace("+00:00", "Z") if found else None


def _assets(given: object, source: str, wanted: Sequence[str], requester_pays: bool) -> dict[str, Asset]:
    found = {}
    for name, told in given.items() if isinstance(given, Mapping) else ():
        if not isinstance(told, Mapping) or not isinstance(told.get("href"), str):
            continue
        roles = _roles(str(name), told)
        if wanted and name not in wanted and set(wanted).isdisjoint(roles):
            continue
        with suppress(ValueError):
            href = joined(source, told["href"])
            if href.startswith(_WHOLE):
                found[str(name)] = _asset(told, href, roles, requester_pays)
    return found


def _roles(name: str, told: Mapping[str, Any]) -> tuple[str, ...]:
    """An asset's roles; where a catalogue tells none, as CBERS' does not, what its name and type suggest."""
    listed = told.get("roles")
    if isinstance(listed, list) and listed:
        return tuple(each for each in listed if isinstance(each, str))
    kind = str(told.get("type") or "")
    if name in {"thumbnail", "overview", "preview", "quicklook"} or kind.startswith(("image/jpeg", "image/png")):
        return ("thumbnail",)
    if name == "metadata" or kind.startswith(("text/", "application/json", "application/xml")):
        return ("metadata",)
    return ("data",)


def _asset(told: Mapping[str, Any], href: str, roles: tuple[str, ...], requester_pays: bool) -> Asset:
    size = told.get("file:size", told.get("size"))
    return Asset(
        href=href,
        type=str(told.get("type") or ""),
        title=str(told.get("title") or ""),
        roles=roles,
        size=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
        requester_pays=requester_pays and href.startswith("s3:"),
    )


def joined(base: str, href: str) -> str:
    """An address relative to another. ``ValueError`` where it is none.

    Most of what a walk does besides waiting would be Python's own joining, so what needs no thought is spared it.
    """
    if href.startswith(_WHOLE):
        return href
    plain = href.removeprefix("./")
    return _folder(base) + plain if _PLAIN.fullmatch(plain) else _joined(base, href)


@lru_cache(maxsize=4096)
def _folder(base: str) -> str:
    return _joined(base, "x")[:-1]


def _joined(base: str, href: str) -> str:
    """Python joins addresses of ``s3`` only when they look like ``http``."""
    if not base.startswith("s3:"):
        return urljoin(base, href)
    return href if urlsplit(href).scheme else "s3:" + urljoin("http:" + base[3:], href).removeprefix("http:")
