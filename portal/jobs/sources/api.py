"""A STAC API, searched by pystac-client, which knows how they page; what it reads comes through our reader."""

from __future__ import annotations

import asyncio
import json
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from pystac.errors import STACError
from pystac_client import Client
from pystac_client.conformance import ConformanceClasses
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO

from portal.gateways.web import Unread
from portal.jobs.sources.description import Description
from portal.jobs.sources.items import links, own_address
from portal.jobs.sources.reading import Document, Reader
from portal.jobs.sources.report import Report
from portal.jobs.sources.walk import Found

MOST_PAGES: Final = 5_000
_PAGE = 200
# Pages in a row that bring nothing new: the API leads in a circle.
_MOST_STALE = 3
_SEARCH: Final = ConformanceClasses.ITEM_SEARCH


def is_api(root: Mapping[str, Any]) -> bool:
    """Whether a catalogue's first document is that of an API that can be searched."""
    return any(link["rel"] == "search" for link in links(root))


def pages(root: Document, reader: Reader, asked: Description, report: Report) -> Iterator[list[Found]]:
    """The items of each page. Raises ``Unread``: half of what an API has is not what was asked for."""
    stale, seen = 0, set[int]()
    for page in _sound(_asked(root, reader, asked)):
        report.documents += 1
        if report.documents > MOST_PAGES:
            raise Unread(f"It gave {MOST_PAGES:,} pages with hardly anything that was asked for.")
        report.matched = _matched(page, report.matched)
        listed = page.get("features")
        features = [value for value in listed if isinstance(value, dict)] if isinstance(listed, list) else []
        found = [Found(value, own_address(value, root.url), inside=False) for value in features]
        new = {hash(f"{value.get('collection')}/{value.get('id')}") for value in features} - seen
        seen |= new
        stale = 0 if new else stale + 1
        if stale >= _MOST_STALE:
            report.warn("The API gives the same page again and again; the search ended there.")
            return
        yield found


def _asked(root: Document, reader: Reader, asked: Description) -> Iterator[dict[str, Any]]:
    with warnings.catch_warnings():
        # An API that does not say what it conforms to is used all the same.
        warnings.simplefilter("ignore")
        client = Client.open(root.url, stac_io=_Through(reader))
        if not client.conforms_to(_SEARCH):
            client.add_conforms_to(_SEARCH.name)
        when = [each.isoformat().replace("+00:00", "Z") if each else ".." for each in (asked.begin, asked.end)]
        search = client.search(
            method=_method(root.value),
            limit=min(_PAGE, asked.limit),
            bbox=list(asked.box) if asked.box else None,
            datetime="/".join(when) if asked.begin or asked.end else None,
            collections=list(asked.collections) or None,
            query={name: dict(tests) for name, tests in asked.query.items()} or None
            if client.conforms_to(ConformanceClasses.QUERY)
            else None,
        )
    yield from search.pages_as_dicts()


def _sound(given: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The pages, and ``Unread`` for what pystac happens to raise when it meets an answer that is no STAC."""
    try:
        yield from given
    except (STACError, APIError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise Unread(f"It does not answer as a STAC API does ({type(error).__name__}: {error}).") from error


def _method(root: Mapping[str, Any]) -> str:
    """POST, where the API says that it takes it: a GET's address is soon too long."""
    return "POST" if any(link["rel"] == "search" and link.get("method") == "POST" for link in links(root)) else "GET"


def _matched(page: Mapping[str, Any], before: int | None) -> int | None:
    context = page.get("context")
    told = page.get("numberMatched", context.get("matched") if isinstance(context, Mapping) else None)
    return told if isinstance(told, int) and told >= 0 else before


class _Through(StacApiIO):
    """pystac-client's way out: our reader instead of its own session."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(max_retries=None)
        self._reader = reader
        self._next = 0.0

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """The text at an address. Raises ``Unread``."""
        return self._reader.run(self._text(href, method or "GET", parameters or {}))

    async def _text(self, href: str, method: str, parameters: dict[str, Any]) -> str:
        if (left := self._next - time.monotonic()) > 0:
            await asyncio.sleep(left)
        self._next = time.monotonic() + self._reader.access.pace
        if method == "POST":
            answer = await self._reader.answer(href, method="POST", body=parameters, keep=False)
        else:
            asked = urlencode({name: _written(value) for name, value in parameters.items()})
            joint = "" if not asked else "&" if "?" in href else "?"
            answer = await self._reader.answer(f"{href}{joint}{asked}", keep=False)
        return answer.body.decode("utf-8", "replace")


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
