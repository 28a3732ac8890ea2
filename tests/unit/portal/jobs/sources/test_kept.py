"""What was read of a catalogue is kept: taken as it is for a while, then asked about, and never more than agreed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from portal.jobs.sources.kept import Kept
from tests.fixtures.catalogues import Asked, Said, Site, catalog, scene
from tests.unit.portal.jobs.sources.conftest import QUICK, names, search


@pytest.fixture
def tagged(site: Site) -> Site:
    """A catalogue of three items whose documents have tags."""

    def page(asked: Asked) -> Said:
        path = asked.path
        value = catalog("root", [("item", f"{n}.json") for n in range(3)]) if "catalog" in path else scene(path)
        same = asked.headers.get("If-None-Match") == '"1"'
        return Said(304) if same else Said(body=json.dumps(value).encode(), headers={"ETag": '"1"'})

    site.pages = dict.fromkeys(["/catalog.json", "/0.json", "/1.json", "/2.json"], page)
    return site


def test_a_second_search_reads_nothing(tagged: Site, tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept.sqlite3", most_bytes=10**7)
    first, _ = search(tagged, access=dataclasses.replace(QUICK, kept=kept))
    kept.close()
    again = Kept(tmp_path / "kept.sqlite3", most_bytes=10**7)
    second, _ = search(tagged, access=dataclasses.replace(QUICK, kept=again))
    again.close()
    assert [item.line() for item in first] == [item.line() for item in second]
    assert len(tagged.heard) == 4


def test_later_it_is_asked_whether_anything_changed(tagged: Site, tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept.sqlite3", most_bytes=10**7, fresh_seconds=0)
    access = dataclasses.replace(QUICK, kept=kept)
    first, _ = search(tagged, access=access)
    second, _ = search(tagged, access=access)
    kept.close()
    assert names(first) == names(second)
    assert [asked.headers.get("If-None-Match") for asked in tagged.heard] == [None] * 4 + ['"1"'] * 4


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept.sqlite3", most_bytes=200_000)
    for number in range(3_000):
        kept.put(f"https://a.example/{number}", "u", "", bytes(str(number) * 200, "ascii"))
        if number % 100 == 99:
            kept.flush()
    kept.put("https://a.example/huge", "u", "", b"x" * 100_000)
    kept.flush()
    assert kept.get("https://a.example/2999") is not None, "the newest stays"
    assert kept.get("https://a.example/0") is None
    assert kept.get("https://a.example/huge") is None
    kept.close()
    assert (tmp_path / "kept.sqlite3").stat().st_size < 600_000


def test_a_file_that_is_broken_costs_nothing_but_time(tagged: Site, tmp_path: Path) -> None:
    (tmp_path / "kept.sqlite3").write_bytes(b"this is no database" * 100)
    kept = Kept(tmp_path / "kept.sqlite3", most_bytes=10**7)
    found, _ = search(tagged, access=dataclasses.replace(QUICK, kept=kept))
    kept.close()
    assert len(found) == 3
