"""A STAC API is searched page by page, as its specification says, however busy it is."""

from __future__ import annotations

import dataclasses
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from portal.jobs.sources import Unfound
from portal.jobs.sources import api as api_module
from portal.jobs.sources.kept import Kept
from tests.fixtures.catalogues import Asked, Page, Said, Site, catalog, scene
from tests.unit.portal.jobs.sources.conftest import QUICK, names, search

CORE = ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"]
QUERY = "https://api.stacspec.org/v1.0.0/item-search#query"


class Api:
    """Item Search over so many scenes, each a day later and a degree further east; ``clouds`` are their number."""

    def __init__(self, site: Site, *, scenes: int, post: bool = True, conforms: list[str] | None = None) -> None:
        self.site = site
        self.scenes = [
            scene(f"s{n:03}", at=(n % 170, 0), when=f"2020-01-{n % 28 + 1:02}T00:00:00Z", clouds=n)
            for n in range(scenes)
        ]
        self.faults: list[Page] = []
        self.post = post
        root = catalog("API", conformsTo=[*CORE, QUERY] if conforms is None else conforms)
        root["links"] = [{"rel": "self", "href": site.url}, {"rel": "root", "href": site.url}]
        root["links"] += [{"rel": "search", "href": f"{site.url}/search", "type": "application/geo+json"}]
        if post:
            root["links"][-1]["method"] = "POST"
        site.pages |= {"/": root, "/search": self.search}

    @property
    def searches(self) -> list[Asked]:
        return [asked for asked in self.site.heard if asked.path.startswith("/search")]

    def search(self, asked: Asked) -> dict[str, Any] | Said:
        if self.faults:
            fault = self.faults.pop(0)
            return fault(asked) if callable(fault) else fault
        assert asked.method == ("POST" if self.post else "GET")
        given: dict[str, Any] = asked.body or {
            name: values[0] for name, values in parse_qs(urlsplit(asked.path).query).items()
        }
        start, limit = int(given.get("token", 0)), int(given.get("limit", 10))
        found = [each for each in self.scenes if self._fits(each, given)]
        page: dict[str, Any] = {"type": "FeatureCollection", "numberMatched": len(found), "links": []}
        page["features"] = found[start : start + limit]
        if start + limit < len(found):
            page["links"].append(self._next(given | {"token": str(start + limit)}))
        return page

    def _fits(self, item: dict[str, Any], given: dict[str, Any]) -> bool:
        box = given.get("bbox", [-180, -90, 180, 90])
        west, _, east, _ = map(float, box.split(",") if isinstance(box, str) else box)
        below = (given.get("query") or {}).get("clouds", {}).get("lt", 10**6) if self.post else 10**6
        return bool(item["bbox"][0] <= east and item["bbox"][2] >= west and item["properties"]["clouds"] < below)

    def _next(self, given: dict[str, Any]) -> dict[str, Any]:
        if self.post:
            return {"rel": "next", "href": f"{self.site.url}/search", "method": "POST", "body": given}
        query = "&".join(f"{name}={value}" for name, value in given.items())
        return {"rel": "next", "href": f"{self.site.url}/search?{query}", "method": "GET"}


@pytest.mark.parametrize("post", [True, False])
def test_all_pages_are_read(site: Site, post: bool) -> None:
    api = Api(site, scenes=450, post=post)
    found, report = search(site, "/")
    assert names(found) == [item["id"] for item in api.scenes]
    assert (report.source, report.complete, report.matched) == ("api", True, 450)
    assert len(api.searches) == 3


def test_what_is_asked_for_is_asked_of_the_api(site: Site) -> None:
    api = Api(site, scenes=50)
    found, _ = search(
        site,
        "/",
        bbox=[4.5, -1, 10, 1],
        time=["2020-01-01T00:00:00+01:00", ".."],
        collections=["MUX"],
        query={"clouds": {"lt": 7}},
    )
    assert names(found) == ["s004", "s005", "s006"]
    assert api.searches[0].body == {
        "limit": 200,
        "bbox": [4.5, -1, 10, 1],
        "datetime": "2019-12-31T23:00:00Z/..",
        "collections": ["MUX"],
        "query": {"clouds": {"lt": 7}},
    }


def test_what_an_api_cannot_filter_is_filtered_here(site: Site) -> None:
    api = Api(site, scenes=50, conforms=CORE)
    assert names(search(site, "/", query={"clouds": {"lt": 3}})[0]) == ["s000", "s001", "s002"]
    assert "query" not in api.searches[0].body


def test_an_api_that_does_not_say_what_it_is_is_searched_all_the_same(site: Site) -> None:
    Api(site, scenes=3, conforms=[])
    assert len(search(site, "/")[0]) == 3


def test_a_million_items_are_bounded_and_told(site: Site) -> None:
    api = Api(site, scenes=30)

    def endless(asked: Asked) -> dict[str, Any]:
        start = int((asked.body or {}).get("token", 0))
        features = [scene(f"s{start + n}", at=(0, 0)) for n in range(asked.body["limit"])]
        following = api._next(asked.body | {"token": start + len(features)})
        return {"type": "FeatureCollection", "features": features, "numberMatched": 1_000_000, "links": [following]}

    site.pages["/search"] = endless
    found, report = search(site, "/", limit=500)
    assert (len(found), report.complete) == (500, False)
    assert "more than 500 items of 1,000,000" in report.warnings[0]
    assert len(api.searches) == 3


def test_a_busy_api_is_asked_again(site: Site) -> None:
    api = Api(site, scenes=250)
    api.faults = [Said(429, headers={"Retry-After": "0"}), Said(500), Said(502)]
    assert len(search(site, "/")[0]) == 250
    api.faults = [Said(500)] * 10
    with pytest.raises(Unfound, match="status 500") as raised:
        search(site, "/")
    assert raised.value.retryable


def test_half_of_an_answer_is_not_taken_for_all_of_it(site: Site) -> None:
    api = Api(site, scenes=450)
    real = api.search
    site.pages["/search"] = lambda asked: Said(500) if "token" in asked.body else real(asked)
    with pytest.raises(Unfound):
        search(site, "/")


def test_requests_are_paced(site: Site) -> None:
    Api(site, scenes=650)
    began = time.monotonic()
    assert len(search(site, "/", access=dataclasses.replace(QUICK, pace=0.2))[0]) == 650
    assert time.monotonic() - began >= 0.6


def test_an_api_without_end_is_left(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page is new, and nothing on it is what was asked for."""
    monkeypatch.setattr(api_module, "MOST_PAGES", 20)
    api = Api(site, scenes=0)

    def endless(asked: Asked) -> dict[str, Any]:
        token = (asked.body or {}).get("token", 0) + 1
        return {"features": [scene(str(token), at=(90, 0))], "links": [api._next(asked.body | {"token": token})]}

    site.pages["/search"] = endless
    with pytest.raises(Unfound, match="20 pages"):
        search(site, "/", bbox=[0, 0, 1, 1])


def test_an_api_that_leads_in_a_circle_is_left(site: Site) -> None:
    api = Api(site, scenes=5)

    def circle(asked: Asked) -> dict[str, Any]:
        return {"type": "FeatureCollection", "features": api.scenes, "links": [api._next(dict(asked.body))]}

    site.pages["/search"] = circle
    found, report = search(site, "/")
    assert len(found) == 5
    assert "again and again" in report.warnings[0]
    assert len(api.searches) < 10


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b'{"features": 7}', b'{"features": [{"id": 1}], "links": [{"href": "x"}]}']
)
def test_an_answer_that_is_no_stac_is_told(site: Site, body: bytes) -> None:
    api = Api(site, scenes=1)
    api.faults = [Said(body=body)] * 5
    with pytest.raises(Unfound):
        search(site, "/")


def test_nothing_found_is_no_fault(site: Site) -> None:
    Api(site, scenes=0)
    found, report = search(site, "/")
    assert (found, report.complete) == ([], True)


def test_a_page_is_never_taken_from_what_was_kept(site: Site, tmp_path: Any) -> None:
    api = Api(site, scenes=3, post=False)
    kept = Kept(tmp_path / "kept.sqlite3", most_bytes=10**7)
    access = dataclasses.replace(QUICK, kept=kept)
    assert len(search(site, "/", access=access)[0]) == 3
    api.scenes.append(scene("new", clouds=1))
    assert len(search(site, "/", access=access)[0]) == 4
    kept.close()
