"""Whatever JSON a person or a catalogue comes with: it is used or refused, and nothing breaks."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.core.errors import Invalid
from portal.jobs.sources.description import checked
from portal.jobs.sources.items import NoItem, own_address, stac_item
from portal.jobs.sources.matching import matches, may_hold

VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(10**400)
JSON = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ASKED = checked(
    {
        "kind": "stac",
        "url": "https://a.example/",
        "bbox": [0, 0, 1, 1],
        "time": ["2020-01-01T00:00:00Z", ".."],
        "query": {"a": {"lt": 3, "contains": "x", "in": [1, "a"]}, "b": True},
    }
)


def some(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """An object with any of these names."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, JSON))


@QUIET
@given(
    kind=st.sampled_from(["stac", "bucket", "urls"]),
    rest=some("url", "bbox", "time", "collections", "query", "limit", "assets", "prefix", "pattern", "urls"),
)
def test_a_description(kind: str, rest: dict[str, Any]) -> None:
    try:
        found = checked(
            {"kind": kind, "url": "https://a.example/", **rest} if kind == "stac" else {"kind": kind, **rest}
        )
    except Invalid as error:
        assert error.fields
        assert all(name == "data" or name.startswith("data.") for name in error.fields)
    else:
        assert checked(json.loads(json.dumps(found.normal()))) == found


@QUIET
@given(
    bbox=st.lists(st.floats() | st.integers() | st.just(10**400), min_size=3, max_size=6) | JSON,
    time=st.lists(st.text(max_size=6) | st.datetimes().map(lambda at: f"{at.isoformat()}Z"), min_size=1, max_size=3),
)
def test_a_box_and_a_time(bbox: Any, time: Any) -> None:
    try:
        checked({"kind": "stac", "url": "https://a.example/", "bbox": bbox, "time": time})
    except Invalid as error:
        assert {name.split(".")[1] for name in error.fields} <= {"bbox", "time"}


@QUIET
@given(
    some("id", "properties", "geometry", "bbox", "assets", "collection", "links"),
    some("datetime", "start_datetime", "end_datetime", "a", "b"),
    some("href", "roles", "type", "title", "file:size"),
)
def test_an_item(value: dict[str, Any], properties: dict[str, Any], asset: dict[str, Any]) -> None:
    for each in (value, {"id": "x", "properties": properties, **value, "assets": {"a": asset}}):
        own_address(each, "https://a.example/")
        try:
            item = stac_item(each, "https://a.example/x.json", wanted=["data"], requester_pays=True)
        except (NoItem, ValueError):
            continue
        matches(item, ASKED, inside=False)
        line = item.line()
        assert "\n" not in line
        assert json.loads(line.encode(), parse_constant=None)["id"] == item.id


@QUIET
@given(
    some("spatial", "temporal") | st.fixed_dictionaries({"spatial": some("bbox"), "temporal": some("interval")}) | JSON
)
def test_an_extent(extent: Any) -> None:
    assert may_hold(extent, ASKED) in {True, False}
