"""A job of ten thousand shards: how soon it is accepted and split, and the portal's pages and memory meanwhile.

It is watched for a while, not to its end, and then cancelled: on one machine its shards take many minutes.
"""

from __future__ import annotations

import json
import time
from typing import Any, Final

from scripts.orca.bench.catalogue import documents_served
from scripts.orca.bench.fanout_jobs import SLEEPS, submitted, until_phase
from scripts.orca.bench.figures import Report
from scripts.orca.bench.installation import Lab, Orca
from scripts.orca.bench.memory import family, memory_mb, wait_until_idle
from scripts.orca.console import ScriptError, say
from scripts.orca.demo.client import Browser

_PORTAL: Final = ("web", "worker", "relay")
_EVERY: Final = 3.0
_TURNS: Final = 5


def many(report: Report, orca: Orca, lab: Lab, *, shards: int, nodes: int, seconds: float) -> None:
    """Adds what a job of so many shards that do nothing takes."""
    script = lab.person.upload("nothing", main_py=SLEEPS)
    pages = _Pages(orca, lab)
    wait_until_idle(orca.pid_of("web"))
    before = _memory(orca)
    pages.look("jobs", "/jobs/")
    calm = pages.rest(report, "before")
    with documents_served(_catalogue(shards), 0.0) as url:
        data = {"kind": "stac", "url": url, "limit": shards}
        began = time.monotonic()
        job = submitted(lab, script, data, seconds=0, nodes=nodes, shards=shards)
        report.add("many_accepted_ms", [1000 * (time.monotonic() - began)], "ms")
        until_phase(lab, job, "splitting", "starting", "running")
        report.add("many_searched_s", [time.monotonic() - began], "s")
        job = until_phase(lab, job, "starting", "running")
        report.add("many_split_s", [time.monotonic() - began], "s")
        if job["shards"] != shards:
            raise ScriptError(f"The job has {job['shards']} shards, and not {shards}.")
        seen = _watched(orca, lab, pages, job, seconds)
        done = _ended(report, lab, job)
    busy = pages.rest(report, "while")
    for name, took in busy.items():
        report.ratio(f"many_{name}_while_to_before", took / calm["jobs"])
    report.add("many_shards_per_s", [done / (time.monotonic() - began)], "1/s")
    report.add("many_portal_before_mb", [before], "MB")
    report.add("many_portal_while_mb", seen, "MB")
    report.add("many_portal_after_mb", [_memory(orca)], "MB")


def _watched(orca: Orca, lab: Lab, pages: _Pages, job: Any, seconds: float) -> list[float]:
    """For so long, or until the job has ended, look at its pages and at the portal's memory, a few seconds apart."""
    seen: list[float] = []
    until = time.monotonic() + seconds
    places = (("jobs", "/jobs/"), ("job", f"/jobs/{job['id']}/"), ("run", f"/runs/{job['run']}/"))
    while time.monotonic() < until and lab.person.get(f"jobs/{job['id']}/")["phase"] != "ended":
        for name, path in places:
            pages.look(name, path)
        seen.append(_memory(orca))
        time.sleep(_EVERY)
    return seen or [_memory(orca)]


def _ended(report: Report, lab: Lab, job: Any) -> int:
    """Cancels what has not ended; how many shards were done well."""
    began = time.monotonic()
    if lab.person.get(f"jobs/{job['id']}/")["phase"] != "ended":
        lab.person.post(f"jobs/{job['id']}/cancel/")
        found = until_phase(lab, job)
        report.add("many_cancelled_s", [time.monotonic() - began], "s")
    else:
        found = lab.person.get(f"jobs/{job['id']}/")
    if found["state"] not in {"succeeded", "cancelled"} or found["progress"]["states"].get("failed"):
        raise ScriptError(f"The job {found['state']}: {found['message']}", detail=json.dumps(found)[:2_000])
    say(f"  {found['progress']['succeeded']} shards done")
    return int(found["progress"]["succeeded"])


class _Pages:
    """A person's browser, and how long each page took."""

    def __init__(self, orca: Orca, lab: Lab) -> None:
        self._browser = Browser(orca.url)
        self._browser.submit("/accounts/login/", {"login": lab.person.email, "password": lab.person.password})
        self._took: dict[str, list[float]] = {}

    def look(self, name: str, path: str) -> None:
        """Ask for a page a few times, one after the other; the first time warms up, and does not count."""
        for turn in range(_TURNS + 1):
            began = time.monotonic()
            self._browser.get(path)
            if turn:
                self._took.setdefault(name, []).append(1000 * (time.monotonic() - began))

    def rest(self, report: Report, when: str) -> dict[str, float]:
        """Report what was seen until now, and forget it; the medians."""
        found = {
            name: report.add(f"many_page_{name}_{when}_ms", took, "ms").median for name, took in self._took.items()
        }
        self._took.clear()
        return found


def _memory(orca: Orca) -> float:
    return sum(memory_mb(family(orca.pid_of(name))) for name in _PORTAL)


def _catalogue(items: int) -> dict[str, bytes]:
    """A static catalogue's documents by path: one of so many items, each with the same file."""
    links = [{"rel": "item", "href": f"./items/{number}.json"} for number in range(items)]
    root = {"type": "Catalog", "stac_version": "1.0.0", "id": "many", "description": "Many items.", "links": links}
    found = {"/catalog.json": json.dumps(root).encode(), "/item.txt": b"An item.\n"}
    for number in range(items):
        west, south = number % 360 - 180.0, number // 360 % 170 - 85.0
        corners = [[west, south], [west + 1, south], [west + 1, south + 1], [west, south + 1], [west, south]]
        item = {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": f"item-{number:05}",
            "geometry": {"type": "Polygon", "coordinates": [corners]},
            "bbox": [west, south, west + 1, south + 1],
            "properties": {"datetime": "2020-06-01T13:55:32Z"},
            "links": [],
            "assets": {"text": {"href": "../item.txt", "type": "text/plain", "roles": ["data"]}},
        }
        found[f"/items/{number}.json"] = json.dumps(item).encode()
    return found
