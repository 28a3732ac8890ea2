"""A description of data is refused with the field that is wrong and what to do, or taken with all its defaults."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from portal.core.errors import Invalid
from portal.jobs.sources.description import checked, schema

STAC = {"kind": "stac", "url": "https://stac.example/catalog.json"}


def refused(data: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as raised:
        checked(data)
    assert raised.value.fields
    return raised.value.fields


def test_the_schema_is_one_and_takes_what_is_taken() -> None:
    Draft202012Validator.check_schema(dict(schema()))
    full = {
        **STAC,
        "bbox": [-60, -20, -50, -10],
        "time": ["2020-01-01T00:00:00Z", "2020-12-31T23:59:59+01:00"],
        "collections": ["CBERS4-MUX"],
        "query": {"eo:cloud_cover": {"lt": 20}, "cbers:path": 12},
        "limit": 50,
        "assets": ["thumbnail"],
    }
    Draft202012Validator(schema()).validate(full)
    found = checked(full)
    assert found.box == (-60, -20, -50, -10)
    assert found.end is not None
    assert found.end.isoformat() == "2020-12-31T22:59:59+00:00"
    assert found.query == {"eo:cloud_cover": {"lt": 20}, "cbers:path": {"eq": 12}}


@pytest.mark.parametrize(
    "data",
    [
        {**STAC, "bbox": [170, -20, -170, 20], "time": ["..", "2020-01-01T00:00:00Z"], "query": {"a": 1}},
        {"kind": "bucket", "prefix": "scenes/", "pattern": "**/*.tif"},
        {"kind": "bucket", "url": "s3://open-data/scenes/", "requester_pays": True},
        {"kind": "urls", "urls": ["https://a.example/1.tif", "s3://open-data/2.tif"]},
    ],
)
def test_a_description_with_its_defaults_means_the_same(data: dict[str, Any]) -> None:
    found = checked(data)
    again = json.loads(json.dumps(found.normal()))
    Draft202012Validator(schema()).validate(again)
    assert checked(again) == found


def test_defaults() -> None:
    found = checked(STAC)
    assert (found.limit, found.assets, found.box, found.begin) == (10_000, (), None, None)


def test_two_pairs_are_two_corners() -> None:
    assert checked({**STAC, "bbox": [[-60, -20], [-50, -10]]}).box == (-60, -20, -50, -10)


def test_a_box_over_the_antimeridian_is_taken() -> None:
    assert checked({**STAC, "bbox": [170, -20, -170, 20]}).box == (170, -20, -170, 20)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ([-60, -10, -50, -20], "upside down"),
        ([-60, -20, -50], "four numbers"),
        ([[-60, -20, 0], [-50, -10, 0]], "four numbers"),
        (["a", 1, 2, 3], "four numbers"),
        ("-60,-20,-50,-10", "four numbers"),
        ([-60, -91, -50, 10], "latitude"),
        ([170, -20, 190, 20], "antimeridian"),
        ([float("nan"), 0, 1, 1], "degrees"),
    ],
)
def test_a_box_that_is_none_is_refused(box: Any, said: str) -> None:
    assert said in refused({**STAC, "bbox": box})["data.bbox"]


@pytest.mark.parametrize(
    ("time", "field", "said"),
    [
        (["2020-02-01T00:00:00Z", "2020-01-01T00:00:00Z"], "data.time", "reversed"),
        (["2020-01-01T00:00:00", "2020-02-01T00:00:00Z"], "data.time.0", "no time zone: write 2020-01-01T00:00:00Z"),
        (["2020-01-01", ".."], "data.time.0", "no time zone: write 2020-01-01T00:00:00Z"),
        (["2020-01-01T00:00:00Z", "2020-02-31T00:00:00Z"], "data.time.1", "ISO 8601"),
        (["2020-01-01T00:00:00Z"], "data.time", "two instants"),
        ("2020", "data.time", "two instants"),
        (["0001-01-01T00:00:00+14:00", ".."], "data.time.0", "ISO 8601"),
    ],
)
def test_a_time_that_is_none_is_refused(time: Any, field: str, said: str) -> None:
    assert said in refused({**STAC, "time": time})[field]


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ([], "data"),
        ({}, "data.kind"),
        ({"kind": "ftp"}, "data.kind"),
        ({"kind": ["stac"]}, "data.kind"),
        ({"kind": "stac"}, "data"),
        ({**STAC, "url": "file:///etc/passwd"}, "data.url"),
        ({**STAC, "url": "https://"}, "data.url"),
        ({**STAC, "url": "https://somebody:secret@stac.example/"}, "data.url"),
        ({**STAC, "url": "https://stac.example:port/"}, "data.url"),
        ({**STAC, "limit": 0}, "data.limit"),
        ({**STAC, "limit": 1_000_000}, "data.limit"),
        ({**STAC, "limit": True}, "data.limit"),
        ({**STAC, "colections": []}, "data.colections"),
        ({**STAC, "query": {"eo:cloud_cover": {"below": 3}}}, "data.query.eo:cloud_cover.below"),
        ({**STAC, "assets": []}, "data.assets"),
        ({"kind": "bucket", "url": "https://a.example/"}, "data.url"),
        ({"kind": "bucket", "url": "s3://a-bucket/", "prefix": "x"}, "data.prefix"),
        ({"kind": "bucket", "prefix": "x", "requester_pays": True}, "data.requester_pays"),
        ({"kind": "urls", "urls": []}, "data.urls"),
        ({"kind": "urls", "urls": ["https://a.example/1", "gopher://a.example/"]}, "data.urls.1"),
        ({"kind": "urls", "urls": ["https://a.example/1", "https://a.example/1"]}, "data.urls"),
        ({"kind": "urls", "urls": [f"https://a.example/{n}" for n in range(10_001)]}, "data.urls"),
    ],
)
def test_other_mistakes_are_told_with_their_field(data: Any, field: str) -> None:
    assert field in refused(data)


def test_all_mistakes_are_told_at_once() -> None:
    found = refused({**STAC, "bbox": [0, 5, 1, 1], "time": ["2020", "2019"]})
    assert set(found) == {"data.bbox", "data.time.0", "data.time.1"}
