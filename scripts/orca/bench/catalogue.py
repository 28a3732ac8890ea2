"""How quickly a static catalogue's items are found over http, against pystac's plain walk of the same catalogue.

The catalogue has CBERS-4's shape (camera, path, row, items), is made in memory and served on loopback by a process of
its own that does nothing else. Both walk all of it, in turn, from their first request to their last item. Nothing is
kept between turns. The same once more with a network's delay in each answer, which no loopback has: ``..._far``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import posixpath
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import httptools
import uvloop

from scripts.orca.bench.figures import Report
from scripts.orca.console import ScriptError, say

_COLLECTION = "CBERS4-MUX"
_BANDS = ("B5", "B6", "B7", "B8")


def measure(arguments: list[str]) -> Report:
    """The report of ``scripts/bench/catalogue``."""
    parser = argparse.ArgumentParser("scripts/bench/catalogue", description=__doc__)
    parser.add_argument("--items", type=int, default=3_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--delay", type=float, default=0.02, help="seconds of each answer in the far catalogue")
    given = parser.parse_args(arguments)
    report = Report("catalogue")
    catalogue_ratio(report, items=given.items, turns=given.turns)
    catalogue_ratio(report, items=min(given.items, 300), turns=2, delay=given.delay, suffix="_far")
    return report


def catalogue_ratio(
    report: Report, *, items: int = 3_000, turns: int = 5, delay: float = 0.0, suffix: str = ""
) -> float:
    """Adds the items per second of both and ``catalogue_to_pystac`` to a report; gives the ratio."""
    ours: list[float] = []
    theirs: list[float] = []
    with documents_served(_documents(items), delay) as url:
        _ours(url)  # what is imported at first use is nobody's walk
        _theirs(f"{url.rpartition('/')[0]}/CBERS4/MUX/001/001/catalog.json")
        for _ in range(turns):
            ours.append(_rate(lambda: _ours(url), items))
            theirs.append(_rate(lambda: _theirs(url), items))
    report.add(f"items_per_second{suffix}", ours, "1/s")
    report.add(f"items_per_second_pystac{suffix}", theirs, "1/s")
    ratio = median(one / other for one, other in zip(ours, theirs, strict=True))
    report.ratio(f"catalogue_to_pystac{suffix}", ratio)
    return ratio


def _rate(walk: Callable[[], int], items: int) -> float:
    began = time.perf_counter()
    found = walk()
    if found != items:
        raise ScriptError(f"{found} items of {items} were found.")
    return items / (time.perf_counter() - began)


def _ours(url: str) -> int:
    # Orca's settings want a key; nothing here signs anything.
    os.environ.setdefault("SECRET_KEY", "x" * 50)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    from portal.jobs.sources import Access, checked, find

    asked = checked({"kind": "stac", "url": url, "limit": 100_000})
    return sum(1 for _ in find(asked, access=Access(private=True)))


def _theirs(url: str) -> int:
    import pystac

    return sum(1 for _ in pystac.Catalog.from_file(url).get_items(recursive=True))


def _documents(items: int) -> Mapping[str, bytes]:
    """A catalogue's documents by their path: ten paths, ten rows each, and the items evenly in them."""
    found: dict[str, Any] = {}
    root, camera = "/catalog.json", "/CBERS4/MUX/collection.json"
    found[root] = _catalog("CBERS", root, [("child", camera)])
    rows = [(path, row) for path in range(1, 11) for row in range(1, 11)]
    found[camera] = _catalog(_COLLECTION, camera, []) | {
        "type": "Collection",
        "license": "CC-BY-SA-3.0",
        "extent": {
            "spatial": {"bbox": [[-180.0, -83.0, 180.0, 83.0]]},
            "temporal": {"interval": [["2014-12-08T00:00:00Z", None]]},
        },
    }
    for number, (path, row) in enumerate(rows):
        above, here = f"/CBERS4/MUX/{path:03}/catalog.json", f"/CBERS4/MUX/{path:03}/{row:03}/catalog.json"
        if above not in found:
            found[above] = _catalog(f"{_COLLECTION} {path:03}", above, [])
            found[camera]["links"].append(_link("child", camera, above))
        found[above]["links"].append(_link("child", above, here))
        names = [f"CBERS_4_MUX_{n:07}_{path:03}_{row:03}_L2" for n in range(number, items, len(rows))]
        folder = here.removesuffix("catalog.json")
        found[here] = _catalog(f"{path:03}/{row:03}", here, [("item", f"{folder}{name}.json") for name in names])
        for name in names:
            found[f"{folder}{name}.json"] = _item(name, path, row)
    return {place: json.dumps(value).encode() for place, value in found.items()}


def _catalog(name: str, here: str, links: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": name,
        "description": name,
        "links": [
            _link("root", here, "/catalog.json"),
            *(_link(rel, here, there) for rel, there in links),
        ],
    }


def _link(rel: str, here: str, there: str) -> dict[str, str]:
    """A link as in a self-contained catalogue: relative to the document that it is in."""
    return {"rel": rel, "href": posixpath.relpath(there, posixpath.dirname(here))}


def _item(name: str, path: int, row: int) -> dict[str, Any]:
    west, south = -60.0 + path, -20.0 + row
    corners = [[west, south], [west + 1.2, south], [west + 1.2, south + 1.1], [west, south + 1.1], [west, south]]
    bucket = f"s3://cbers-pds/CBERS4/MUX/{path:03}/{row:03}/{name}"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": _COLLECTION,
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "bbox": [west, south, west + 1.2, south + 1.1],
        "properties": {
            "datetime": "2020-06-01T13:55:32Z",
            "platform": "cbers-4",
            "instruments": ["MUX"],
            "gsd": 20.0,
            "eo:cloud_cover": 12.5,
            "view:sun_azimuth": 40.1,
            "view:off_nadir": 0.003,
            "cbers:path": path,
            "cbers:row": row,
        },
        "links": [{"rel": "root", "href": "../../../../catalog.json"}, {"rel": "parent", "href": "catalog.json"}],
        "assets": {
            "thumbnail": {"href": f"{bucket}/{name}.jpg", "type": "image/jpeg", "roles": ["thumbnail"]},
            "metadata": {"href": f"{bucket}/{name}_BAND6.xml", "type": "text/xml", "roles": ["metadata"]},
            **{
                band: {"href": f"{bucket}/{name}_{band}.tif", "type": "image/tiff", "roles": ["data"]}
                for band in _BANDS
            },
        },
    }


@contextmanager
def documents_served(documents: Mapping[str, bytes], delay: float) -> Iterator[str]:
    """The address of the first document, while a process serves them all."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    server = context.Process(target=_serve, args=(documents, delay, there), daemon=True)
    server.start()
    try:
        if not here.poll(20):
            raise ScriptError("The catalogue's server did not start.")
        port = here.recv()
        say(f"  {len(documents)} documents, {delay * 1_000:.0f} ms of delay in each answer")
        yield f"http://127.0.0.1:{port}/catalog.json"
    finally:
        server.kill()
        server.join()


def _serve(documents: Mapping[str, bytes], delay: float, told: Connection) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Served(documents, delay), "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


class _Served(asyncio.Protocol):
    """One connection of a server that costs as little as can be: both walks are measured, it is not."""

    def __init__(self, documents: Mapping[str, bytes], delay: float) -> None:
        self._documents = documents
        self._delay = delay
        self._parser = httptools.HttpRequestParser(self)
        self._path = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Someone asks."""
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """A part of what is asked."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """What is asked for."""
        self._path = url.decode()

    def on_message_complete(self) -> None:
        """All of it was heard."""
        body = self._documents.get(self._path)
        status = b"200 OK" if body is not None else b"404 Not Found"
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (
            status,
            len(body or b""),
        )
        asyncio.get_running_loop().call_later(self._delay, self._answer, head + (body or b""))

    def _answer(self, answer: bytes) -> None:
        self._transport.write(answer)
        if not self._parser.should_keep_alive():
            self._transport.close()
