"""Whether an item, or anything below a part of a catalogue, is what a description asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from portal.jobs.sources.description import Box, Description
from portal.jobs.sources.items import Item, box, instant, span


def matches(item: Item, asked: Description, *, inside: bool) -> bool:
    """Whether an item is asked for. ``inside``: it lies below one of the collections that are."""
    if asked.collections and not inside and item.collection not in asked.collections:
        return False
    if asked.box and (item.bbox is None or not overlap(item.bbox, asked.box)):
        return False
    if asked.begin or asked.end:
        when = span(item.properties)
        if when is None or not _within(when[0], when[1], asked):
            return False
    return all(_fulfilled(item.properties.get(name), tests) for name, tests in asked.query.items())


def may_hold(extent: object, asked: Description) -> bool:
    """Whether something asked for may lie within an extent, as a collection tells it; where it tells none, it may."""
    if not isinstance(extent, Mapping):
        return True
    spatial, temporal = extent.get("spatial"), extent.get("temporal")
    boxes = _listed(spatial.get("bbox") if isinstance(spatial, Mapping) else spatial)
    found = [each for each in (box(given) for given in boxes) if each]
    if asked.box and found and len(found) == len(boxes) and not any(overlap(each, asked.box) for each in found):
        return False
    spans = _listed(temporal.get("interval") if isinstance(temporal, Mapping) else temporal)
    whole = [each for each in spans if len(each) == 2 and all(end is None or instant(end) for end in each)]
    return (
        not whole
        or len(whole) < len(spans)
        or any(_within(instant(begin), instant(end), asked) for begin, end in whole)
    )


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes have something in common; each may lie over the antimeridian."""
    if one[3] < other[1] or other[3] < one[1]:
        return False
    return any(a[0] <= b[1] and b[0] <= a[1] for a in _stretches(one) for b in _stretches(other))


def _stretches(given: Box) -> list[tuple[float, float]]:
    """The longitudes of a box, each stretch from west to east; -180 and 180 are the same line."""
    west, _, east, _ = given
    if west > east:
        return [(west, 180.0), (-180.0, east)]
    found = [(west, east)]
    if west == -180:
        found.append((180.0, 180.0))
    if east == 180:
        found.append((-180.0, -180.0))
    return found


def _within(begin: datetime | None, end: datetime | None, asked: Description) -> bool:
    if asked.begin and end and end < asked.begin:
        return False
    return not (asked.end and begin and begin > asked.end)


def _listed(given: object) -> list[list[Any]]:
    """A list of lists; older catalogues tell a single one without a list around it."""
    if not isinstance(given, list) or not given:
        return []
    if not isinstance(given[0], list):
        return [given]
    return [each for each in given if isinstance(each, list)]


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) != isinstance(wanted, bool):
        return False
    return bool(value == wanted)


_TESTS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": _same,
    "neq": lambda value, wanted: not _same(value, wanted),
    "lt": lambda value, wanted: bool(value < wanted),
    "lte": lambda value, wanted: bool(value <= wanted),
    "gt": lambda value, wanted: bool(value > wanted),
    "gte": lambda value, wanted: bool(value >= wanted),
    "in": lambda value, wanted: any(_same(value, each) for each in wanted),
    "startsWith": lambda value, wanted: isinstance(value, str) and value.startswith(wanted),
    "endsWith": lambda value, wanted: isinstance(value, str) and value.endswith(wanted),
    "contains": lambda value, wanted: wanted in value,
}


def _fulfilled(value: Any, tests: Mapping[str, Any]) -> bool:
    """An item that lacks the property fulfils nothing, whatever is asked."""
    if value is None:
        return False
    try:
        return all(_TESTS[name](value, wanted) for name, wanted in tests.items())
    except TypeError:
        return False
