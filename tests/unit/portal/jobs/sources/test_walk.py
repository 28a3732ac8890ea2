"""A static catalogue gives its items, however its links are written: each once, and in the same order each time."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from portal.jobs.sources import Unfound, finding, walk
from tests.fixtures.catalogues import Asked, Said, Site, catalog, collection, scene
from tests.unit.portal.jobs.sources.conftest import names, search


def cbers(site: Site, base: str) -> list[str]:
    """Camera, paths, rows, items: with addresses that begin with ``base``; the ids in the order of the links."""
    found = []
    site.pages["/catalog.json"] = catalog("CBERS", [("child", f"{base}MUX/collection.json")])
    up = "../" if base == "./" else ""
    down = "./" if up else f"{base}MUX/"
    paths = [f"{number:03}" for number in range(1, 4)]
    site.pages["/MUX/collection.json"] = collection("MUX", [("child", f"{down}{path}/catalog.json") for path in paths])
    for path in paths:
        ids = [f"S{path}{number}" for number in range(4)]
        here = "./" if up else f"{base}MUX/{path}/"
        site.pages[f"/MUX/{path}/catalog.json"] = catalog(path, [("item", f"{here}{name}.json") for name in ids])
        site.pages.update({f"/MUX/{path}/{name}.json": scene(name) for name in ids})
        found += ids
    return found


@pytest.mark.parametrize("kind", ["relative", "absolute", "from the host"])
def test_links_of_every_kind_are_followed(site: Site, kind: str) -> None:
    wanted = cbers(site, {"relative": "./", "absolute": f"{site.url}/", "from the host": "/"}[kind])
    found, report = search(site)
    assert names(found) == wanted
    assert report.source == "catalogue"
    assert report.complete
    assert found[0].source == f"{site.url}/MUX/001/S0010.json"
    assert found[0].assets["B5"].href == f"{site.url}/MUX/001/S0010_B5.tif"


def test_the_order_is_that_of_the_links_whatever_answers_first(site: Site) -> None:
    wanted = cbers(site, "./")
    for path, page in list(site.pages.items()):
        body = site.answer(Asked("GET", path)).body
        if page is not site.pages["/catalog.json"]:
            site.pages[path] = Said(body=body, after=random.uniform(0.001, 0.05))
    assert [names(search(site)[0]) for _ in range(3)] == [wanted] * 3
    assert names(search(site, limit=5)[0]) == wanted[:5]


def test_a_limit_ends_the_walk_and_says_so(site: Site) -> None:
    cbers(site, "./")
    found, report = search(site, limit=12)
    assert (len(found), report.complete, report.warnings) == (12, True, [])
    found, report = search(site, limit=11)
    assert (len(found), report.complete) == (11, False)
    assert "more than 11 items" in report.warnings[0]


def test_collections_within_collections(site: Site) -> None:
    site.pages |= {
        "/catalog.json": catalog("root", [("child", "a/collection.json"), ("item", "loose.json")]),
        "/a/collection.json": collection("A", [("child", "b/collection.json"), ("item", "one.json")]),
        "/a/b/collection.json": collection("B", [("item", "two.json")]),
        "/a/one.json": scene("one", collection="A"),
        "/a/b/two.json": scene("two", collection="B"),
        "/loose.json": scene("loose", collection=None),
    }
    assert names(search(site)[0]) == ["two", "one", "loose"]
    assert names(search(site, collections=["B"])[0]) == ["two"]
    assert names(search(site, collections=["A"])[0]) == ["two", "one"]


def test_lists_of_items_and_their_pages(site: Site) -> None:
    own = scene("two") | {"links": [{"rel": "self", "href": "../items/two.json"}]}
    site.pages |= {
        "/catalog.json": catalog("root", [("child", "MUX/collection.json")]),
        "/MUX/collection.json": collection("MUX", [("items", "./items.json")]),
        "/MUX/items.json": {
            "type": "FeatureCollection",
            "features": [scene("one"), own],
            "links": [{"rel": "next", "href": "./items-2.json"}],
        },
        "/MUX/items-2.json": {"type": "FeatureCollection", "features": [scene("three")], "links": []},
    }
    found, _ = search(site)
    assert names(found) == ["one", "two", "three"]
    assert found[1].source == f"{site.url}/items/two.json"
    assert found[1].assets["B5"].href == f"{site.url}/items/two_B5.tif"


def test_a_list_has_as_many_pages_as_it_likes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "DEEPEST", 3)
    for number in range(20):
        following = [{"rel": "next", "href": f"{number + 1}.json"}] if number < 19 else []
        features = [scene(f"s{number}-{n}") for n in range(2)]
        site.pages[f"/{number}.json"] = {"type": "FeatureCollection", "features": features, "links": following}
    found, report = search(site, "/0.json")
    assert names(found) == [f"s{number}-{n}" for number in range(20) for n in range(2)]
    assert report.warnings == []


def test_an_item_or_a_list_by_itself_is_a_catalogue(site: Site) -> None:
    site.pages["/item.json"] = scene("only")
    assert names(search(site, "/item.json")[0]) == ["only"]


def test_documents_of_before_1_0_have_no_type(site: Site) -> None:
    root, old = catalog("root", [("child", "c.json")]), catalog("C", [("item", "one.json")])
    old["extent"] = {"spatial": [-180, -90, 180, 90], "temporal": ["2014-01-01T00:00:00Z", None]}
    del root["type"], old["type"]
    site.pages |= {"/catalog.json": root, "/c.json": old, "/one.json": scene("one", collection=None)}
    assert names(search(site, collections=["C"], bbox=[0, 0, 2, 2])[0]) == ["one"]


def test_an_item_that_is_linked_twice_is_found_once(site: Site) -> None:
    site.pages |= {
        "/catalog.json": catalog("root", [("item", "one.json"), ("item", "./one.json#x"), ("item", "copy.json")]),
        "/one.json": scene("one"),
        "/copy.json": scene("one"),
    }
    found, report = search(site)
    assert (names(found), report.doubled) == (["one"], 1)
    assert site.paths().count("/one.json") == 1


def test_a_redirected_document_is_relative_to_where_it_is(site: Site) -> None:
    site.pages |= {
        "/catalog.json": Said(302, headers={"Location": "/v2/catalog.json"}),
        "/v2/catalog.json": catalog("root", [("item", "one.json")]),
        "/v2/one.json": scene("one"),
    }
    found, _ = search(site)
    assert found[0].source == f"{site.url}/v2/one.json"


def test_pages_for_people_are_not_followed(site: Site) -> None:
    root = catalog("root", [("item", "one.json")])
    root["links"].insert(0, {"rel": "child", "href": "index.html", "type": "text/html"})
    site.pages |= {"/catalog.json": root, "/one.json": scene("one")}
    found, report = search(site)
    assert (names(found), report.failed) == (["one"], 0)


def test_wanted_assets_by_name_and_by_role(site: Site) -> None:
    assets: dict[str, Any] = {
        "B5": {"href": "b5.tif", "roles": ["data"]},
        "B6": {"href": "b6.tif", "roles": ["data"]},
        "thumb": {"href": "t.jpg", "roles": ["thumbnail", "overview"], "title": "Small", "type": "image/jpeg"},
        "meta": {"href": "ftp://old.example/m.xml", "roles": ["metadata"]},
        "broken": {"title": "no address"},
    }
    site.pages |= {
        "/catalog.json": catalog("root", [("item", "one.json"), ("item", "bare.json")]),
        "/one.json": scene("one", assets=assets),
        "/bare.json": scene("bare", assets={}),
    }
    assert set(search(site)[0][0].assets) == {"B5", "B6", "thumb"}
    found, report = search(site, assets=["B5", "thumbnail"])
    assert names(found) == ["one"]
    assert set(found[0].assets) == {"B5", "thumb"}
    assert "bare.json: It has none of the assets" in report.warnings[0]


def test_roles_are_guessed_where_none_are_told(site: Site) -> None:
    """As in the catalogue of CBERS-4, whose assets have a name and a type only."""
    assets = {
        "thumbnail": {"href": "https://meta.example/1.jpg", "type": "image/jpeg"},
        "metadata": {"href": "s3://cbers-pds/1.xml", "type": "text/xml"},
        "B5": {"href": "s3://cbers-pds/1_5.tif", "type": "image/tiff; application=geotiff"},
    }
    site.pages |= {"/catalog.json": catalog("root", [("item", "one.json")]), "/one.json": scene("one", assets=assets)}
    for role, name in {"thumbnail": "thumbnail", "metadata": "metadata", "data": "B5"}.items():
        assert list(search(site, assets=[role])[0][0].assets) == [name]
    paid = search(site, requester_pays=True)[0][0].assets
    assert [name for name, asset in paid.items() if asset.requester_pays] == ["metadata", "B5"]


def test_a_walk_does_not_read_all_of_a_catalogue_for_its_first_items(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million items: what is read ahead is bounded, and so is what is remembered."""
    monkeypatch.setattr(walk, "_AHEAD", 50)
    links = [("item", f"i{number}.json") for number in range(100_000)]
    site.pages["/catalog.json"] = catalog("root", links)
    site.pages.update({f"/i{number}.json": scene(f"i{number}") for number in range(400)})
    found, report = search(site, limit=20)
    assert names(found) == [f"i{number}" for number in range(20)]
    assert report.documents < 200


def test_a_catalogue_beyond_every_measure_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "MOST_DOCUMENTS", 10)
    monkeypatch.setattr(finding, "MOST_DOCUMENTS", 10)
    cbers(site, "./")
    with pytest.raises(Unfound, match="more than 10 documents") as raised:
        search(site)
    assert raised.value.hint
    assert "data.url" in raised.value.fields


def test_documents_are_read_beside_each_other(site: Site) -> None:
    site.pages["/catalog.json"] = catalog("root", [("item", f"{number}.json") for number in range(24)])
    for number in range(24):
        site.pages[f"/{number}.json"] = Said(body=json.dumps(scene(str(number))).encode(), after=0.2)
    began = time.monotonic()
    assert len(search(site)[0]) == 24
    assert time.monotonic() - began < 24 * 0.2 / 4
