"""A static catalogue, walked: many documents at once, and yet its items come in the order of its links.

A node's key is its way from the root, as numbers of links: keys sort as a walk in depth would meet them. What is read
ahead is bounded, in documents and in bytes; links that were not followed yet are an iterator, not nodes.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from portal.gateways.web import Unread
from portal.jobs.sources.description import Description
from portal.jobs.sources.items import MOST_OF_LINE, joined, links, own_address
from portal.jobs.sources.matching import may_hold
from portal.jobs.sources.reading import Document, Reader
from portal.jobs.sources.report import Report

DEEPEST: Final = 30
MOST_DOCUMENTS: Final = 500_000
_AHEAD = 512
_AHEAD_BYTES = 64 * 1024 * 1024
_FOLLOWED = frozenset({"child", "item", "items"})
_PAGES = frozenset({"next"})
_PORTS = {"http": ":80", "https": ":443"}


class TooMany(Exception):
    """The catalogue is larger than what is walked for one search."""


@dataclass(slots=True)
class Found:
    """An item's document, the address it is at, and whether it lies in a collection that is asked for."""

    value: Mapping[str, Any]
    url: str
    inside: bool


@dataclass(slots=True)
class _Node:
    """``inside``: below a collection that is asked for. ``apart``: below one that is not."""

    key: tuple[int, ...]
    url: str
    rel: str
    inside: bool = False
    apart: bool = False
    depth: int = 0
    siblings: Iterator[_Node] | None = None
    found: list[Found] = field(default_factory=list)
    held: int = 0
    done: bool = False

    def __lt__(self, other: _Node) -> bool:
        return self.key < other.key


class Walk:
    """One walk from a root whose document was read already."""

    def __init__(self, root: Document, reader: Reader, asked: Description, report: Report) -> None:
        self._reader = reader
        self._asked = asked
        self._report = report
        self._todo: list[_Node] = []
        self._order: list[_Node] = []
        self._ready: list[Found] = []
        self._visited = {_place(root.url), _place(asked.url)}
        self._tasks: set[asyncio.Task[None]] = set()
        self._held = 0
        self._wake = asyncio.Event()
        self._error: Exception | None = None
        node = _Node((), root.url, "root")
        report.documents += 1
        self._take(node, root)
        self._ready += node.found

    async def batch(self) -> list[Found]:
        """The next items; none at all when there are no more. Raises ``TooMany``."""
        self._advance()
        while not self._ready and (self._tasks or self._todo) and not self._error:
            self._wake.clear()
            await self._wake.wait()
        if not self._ready and self._error:
            raise self._error
        found, self._ready = self._ready, []
        return found

    def _advance(self) -> None:
        """Give out what has its turn, and begin to read what comes next."""
        self._settle()
        while self._todo and len(self._tasks) < self._reader.access.at_once and self._may_begin():
            node = heapq.heappop(self._todo)
            if node.siblings and (following := next(node.siblings, None)):
                following.siblings = node.siblings
                heapq.heappush(self._todo, following)
            if (place := _place(node.url)) in self._visited:
                continue
            if self._report.documents >= MOST_DOCUMENTS:
                self._error = TooMany()
                self._todo.clear()
                break
            self._visited.add(place)
            self._report.documents += 1
            heapq.heappush(self._order, node)
            task = asyncio.create_task(self._open(node))
            self._tasks.add(task)
        self._settle()

    def _may_begin(self) -> bool:
        if not self._order or self._todo[0] < self._order[0]:
            return True
        return len(self._order) < _AHEAD and self._held < _AHEAD_BYTES

    def _settle(self) -> None:
        while self._order and self._order[0].done and not (self._todo and self._todo[0] < self._order[0]):
            node = heapq.heappop(self._order)
            self._held -= node.held
            self._ready += node.found
        if self._ready or not (self._todo or self._tasks) or self._error:
            self._wake.set()

    async def _open(self, node: _Node) -> None:
        try:
            self._take(node, await self._reader.document(node.url))
        except Unread as error:
            self._report.failure(node.url, error.message)
        except Exception as error:
            self._error = error
        # A task that was cancelled does not come here: nobody waits for more.
        node.done = True
        if task := asyncio.current_task():
            self._tasks.discard(task)
        self._advance()

    def _take(self, node: _Node, document: Document) -> None:
        """What a document brings: items, or links to follow."""
        value = document.value
        kind = value.get("type")
        node.held = document.size
        self._held += node.held
        if kind == "Feature":
            node.found = self._items(node, document, [value])
            return
        if kind == "FeatureCollection":
            features = value.get("features")
            node.found = self._items(node, document, features if isinstance(features, list) else [])
            self._follow(node, document, _PAGES, inside=node.inside, apart=node.apart)
            return
        if not isinstance(value.get("links"), list):
            raise Unread("It is JSON, but no STAC document.")
        node.held = 0
        self._held -= document.size
        self._descend(node, document)

    def _items(self, node: _Node, document: Document, features: list[Any]) -> list[Found]:
        found = []
        for value in features:
            if not isinstance(value, dict):
                self._report.failure(document.url, "It lists something that is no item.")
            elif len(features) == 1 and document.size > MOST_OF_LINE:
                self._report.failure(document.url, "It is too large for an item.")
            else:
                url = document.url if len(features) == 1 else own_address(value, document.url)
                found.append(Found(value, url, node.inside))
        return found

    def _descend(self, node: _Node, document: Document) -> None:
        value, asked = document.value, self._asked
        # Before 1.0 documents had no type. A catalogue may tell an extent, too.
        is_collection = value.get("type") == "Collection" or ("type" not in value and "extent" in value)
        name = value.get("id")
        if is_collection and isinstance(name, str):
            self._report.collection(name)
        if not may_hold(value.get("extent"), asked) or (node.apart and not is_collection):
            self._report.pruned += 1
            return
        inside = node.inside or not asked.collections or (is_collection and name in asked.collections)
        # Items of a collection that was not asked for are not looked at, but collections within it are.
        apart = is_collection and not inside and bool(node.key)
        self._follow(node, document, frozenset({"child"}) if apart else _FOLLOWED, inside=inside, apart=apart)

    def _follow(self, node: _Node, document: Document, rels: frozenset[str], *, inside: bool, apart: bool) -> None:
        there = _links(document, rels)
        # The pages of a list lie beside each other.
        depth = node.depth + (rels is not _PAGES)
        if there and depth > DEEPEST:
            self._report.failure(document.url, f"It lies deeper than {DEEPEST} levels; what is below was left out.")
            return
        siblings = (
            _Node((*node.key, number), url, rel, inside and bool(self._asked.collections), apart, depth)
            for number, (rel, url) in enumerate(there)
        )
        if first := next(siblings, None):
            first.siblings = siblings
            heapq.heappush(self._todo, first)


def _links(document: Document, rels: frozenset[str]) -> list[tuple[str, str]]:
    found = []
    for link in links(document.value):
        if link["rel"] in rels and not str(link.get("type") or "").startswith("text/html"):
            with suppress(ValueError):
                found.append((link["rel"], joined(document.url, link["href"])))
    return found


def _place(url: str) -> int:
    """An address as a number that is the same for the same place; a million addresses would fill the memory."""
    scheme, _, rest = url.partition("#")[0].partition("://")
    host, _, path = rest.partition("/")
    return hash((scheme, host.lower().removesuffix(_PORTS.get(scheme, ":")), path))
