"""A catalogue with something wrong in it gives what is sound, and tells the rest; one that gives nothing says why."""

from __future__ import annotations

import dataclasses
import time

import pytest

from portal.jobs.sources import TimeUp, Unfound, checked, find, walk
from tests.fixtures.catalogues import Asked, Said, Site, catalog, scene
from tests.unit.portal.jobs.sources.conftest import QUICK, names, search


def test_a_loop_is_walked_once(site: Site) -> None:
    site.pages |= {
        "/catalog.json": catalog("root", [("child", "a/catalog.json"), ("child", "catalog.json?")]),
        "/a/catalog.json": catalog(
            "a", [("child", "../catalog.json"), ("child", "./catalog.json"), ("item", "1.json")]
        ),
        "/a/1.json": scene("one"),
    }
    found, report = search(site)
    assert (names(found), report.failed) == (["one"], 0)
    assert site.paths().count("/a/catalog.json") == 1


def test_a_catalogue_without_a_bottom_is_left_in_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each document names one below it that was never seen before."""
    monkeypatch.setattr(walk, "DEEPEST", 10)
    site.pages |= {
        "/catalog.json": lambda asked: catalog("deep", [("child", asked.path + "?x"), ("item", "1.json")]),
        "/1.json": scene("one"),
    }
    found, report = search(site)
    assert names(found) == ["one"]
    assert len(site.heard) < 20
    assert "deeper than 10 levels" in report.warnings[0]


def test_children_that_are_wrong_are_told_and_passed_over(site: Site) -> None:
    site.pages |= {
        "/catalog.json": catalog(
            "root", [("item", f"{name}.json") for name in ("gone", "text", "list", "cut", "nan", "none", "good")]
        ),
        "/text.json": Said(body=b"<html>Welcome</html>"),
        "/list.json": Said(body=b"[1, 2]"),
        "/cut.json": Said(body=b'{"type": "Feature", "id": '),
        "/nan.json": Said(body=b'{"type": "Feature", "id": "x", "bbox": [NaN]}'),
        "/none.json": {"type": "Feature", "properties": {}},
        "/good.json": scene("good"),
    }
    found, report = search(site)
    assert names(found) == ["good"]
    assert report.failed == 6
    told = "\n".join(report.warnings)
    assert f"{site.url}/gone.json: It answered with status 404." in told
    assert f"{site.url}/text.json: It is no JSON." in told
    assert f"{site.url}/list.json: It is JSON, but no STAC document." in told
    assert f"{site.url}/none.json: It has no id." in told
    assert site.paths().count("/gone.json") == 1, "what is not there is not asked for again"


def test_nothing_but_faults_is_a_refusal(site: Site) -> None:
    site.pages["/catalog.json"] = catalog("root", [("child", "gone.json"), ("child", "away.json")])
    with pytest.raises(Unfound, match=r"Nothing was found, and 2 documents could not be read.*status 404") as raised:
        search(site)
    assert "data.url" in raised.value.fields


def test_nothing_at_all_is_no_fault(site: Site) -> None:
    site.pages["/catalog.json"] = catalog("root")
    found, report = search(site)
    assert (found, report.complete, report.warnings) == ([], True, [])


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (Said(404), "status 404"),
        (Said(body=b"<html>"), "no JSON"),
        ({"hello": "world"}, "no STAC document"),
        (Said(302, headers={"Location": "/catalog.json"}), "redirects again and again"),
        (Said(302, headers={"Location": "file:///etc/passwd"}), "no address that begins with"),
    ],
)
def test_a_first_document_that_is_wrong_is_a_refusal(site: Site, page: Said, said: str) -> None:
    site.pages["/catalog.json"] = page
    with pytest.raises(Unfound, match=said):
        search(site)


def test_a_slow_child_is_left_in_time(site: Site) -> None:
    site.pages |= {
        "/catalog.json": catalog("root", [("item", "slow.json"), ("item", "good.json")]),
        "/slow.json": Said(after=30),
        "/good.json": scene("good"),
    }
    began = time.monotonic()
    found, report = search(site, access=dataclasses.replace(QUICK, within=0.3, tries=2))
    assert time.monotonic() - began < 5
    assert names(found) == ["good"]
    assert "slow.json: It did not answer within" in report.warnings[0]


def test_what_passes_is_asked_for_again(site: Site) -> None:
    answers = [Said(500), Said(429, headers={"Retry-After": "0"}), Said(503)]
    site.pages |= {
        "/catalog.json": catalog("root", [("item", "one.json")]),
        "/one.json": lambda _: answers.pop(0) if answers else scene("one"),
    }
    found, report = search(site)
    assert (names(found), report.failed) == (["one"], 0)


def test_who_asks_for_quiet_gets_it(site: Site) -> None:
    began: list[float] = []

    def busy(_: Asked) -> Said:
        began.append(time.monotonic())
        return Said(429, headers={"Retry-After": "1"}) if len(began) == 1 else Said(404)

    site.pages |= {"/catalog.json": catalog("root", [("item", "one.json")]), "/one.json": busy}
    with pytest.raises(Unfound):
        search(site)
    assert began[1] - began[0] >= 1


def test_a_document_that_is_too_large_is_not_read(site: Site) -> None:
    site.pages |= {
        "/catalog.json": catalog("root", [("item", "huge.json"), ("item", "good.json")]),
        "/huge.json": Said(headers={"Content-Length": str(10**12)}),
        "/good.json": scene("good"),
    }
    found, report = search(site)
    assert names(found) == ["good"]
    assert "larger than" in report.warnings[0]


def test_many_warnings_are_counted_not_kept(site: Site) -> None:
    links = [("item", f"{number}.json") for number in range(100)] + [("item", "good.json")]
    site.pages |= {"/catalog.json": catalog("root", links), "/good.json": scene("good")}
    _, report = search(site)
    assert (report.failed, len(report.warnings), report.more_warnings) == (100, 20, 80)


def test_a_search_ends_at_its_deadline(site: Site) -> None:
    site.pages["/catalog.json"] = Said(after=30)
    asked, began = checked({"kind": "stac", "url": f"{site.url}/catalog.json"}), time.monotonic()
    with pytest.raises(TimeUp):
        list(find(asked, access=dataclasses.replace(QUICK, within=20), deadline=time.monotonic() + 0.5))
    assert time.monotonic() - began < 5


def test_a_search_can_be_called_off(site: Site) -> None:
    site.pages["/catalog.json"] = Said(after=30)
    asked, began = checked({"kind": "stac", "url": f"{site.url}/catalog.json"}), time.monotonic()

    def check() -> None:
        if time.monotonic() - began > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(find(asked, access=dataclasses.replace(QUICK, within=20), check=check))
    assert time.monotonic() - began < 5
