"""Finding the items that a description means, one after the other: never all of them in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from portal.core.errors import CloudFault, OrcaError
from portal.gateways import aws_catalogue
from portal.gateways.aws_catalogue import Place
from portal.gateways.web import Unread
from portal.jobs.sources import api
from portal.jobs.sources.description import Description, meant
from portal.jobs.sources.items import Asset, Item, NoItem, stac_item
from portal.jobs.sources.matching import matches
from portal.jobs.sources.probing import Probe
from portal.jobs.sources.reading import Access, Reader, TimeUp
from portal.jobs.sources.report import Report
from portal.jobs.sources.unfound import Unfound
from portal.jobs.sources.walk import MOST_DOCUMENTS, Found, TooMany, Walk

__all__ = ["Access", "Report", "TimeUp", "Unfound", "find"]

# What tells instances what to do is nobody's data.
_NOT_DATA = "control/"
_LOOK_EVERY = 500


def find(
    asked: Description,
    *,
    access: Access,
    report: Report | None = None,
    check: Callable[[], None] | None = None,
    deadline: float | None = None,
) -> Iterator[Item]:
    """The items, in an order that is the same each time, each once, ``asked.limit`` at most.

    ``report`` is filled on the way. ``check`` is called again and again and may raise. ``deadline``: of
    ``time.monotonic``, after which ``TimeUp`` is raised. Raises ``Unfound`` where the source cannot be searched, or
    where nothing was found because too much of it could not be read. Not for use within an event loop.
    """
    told = report if report is not None else Report()
    access = paying(access, asked)
    search = _once_each(_SEARCHES[asked.kind](asked, access, told, check, deadline), asked, told)
    yield from _probed(search, Probe(access.reach)) if access.probing else search


def paying(access: Access, asked: Description) -> Access:
    """The access, where the account pays for what it reads of others if that is asked for."""
    return replace(access, reach=replace(access.reach, requester_pays=asked.requester_pays))


def _probed(search: Iterator[Item], probe: Probe) -> Iterator[Item]:
    for item in search:
        probe.look(item)
        yield item
    probe.end()


def _once_each(search: Iterator[Item], asked: Description, report: Report) -> Iterator[Item]:
    seen: set[tuple[str | None, str]] = set()
    for item in search:
        name = (item.collection, item.id)
        if name in seen:
            report.doubled += 1
            continue
        if report.found == asked.limit:
            known = f" of {report.matched:,}" if report.matched else ""
            report.warn(f"There are more than {asked.limit:,} items{known}; the search ended there.")
            return
        seen.add(name)
        report.found += 1
        yield item
    report.complete = True
    missing = [name for name in asked.collections if name not in report.collections]
    if missing and report.collections:
        has = f" It has {', '.join(report.collections[:20])}." if len(report.collections) <= 20 else ""
        report.warn(f"There is no collection {missing[0]}.{meant(missing[0], report.collections)}{has}")


Check = Callable[[], None] | None


def _stac(asked: Description, access: Access, report: Report, check: Check, deadline: float | None) -> Iterator[Item]:
    with Reader(access, check=check, deadline=deadline) as reader:
        try:
            for found in _catalogue(asked, reader, report):
                for each in found:
                    if item := _item(each, asked, access, report):
                        yield item
        except Unread as error:
            message = f"The data cannot be searched: {error.message}"
            raise Unfound(message, field=_field(error), hint=error.hint, retryable=error.retryable) from error
        except TooMany as error:
            raise Unfound(
                f"The catalogue has more than {MOST_DOCUMENTS:,} documents to look at.",
                field="data.url",
                hint="Name a part of it, its collections, or a smaller box or time.",
            ) from error
    if not report.found and report.failed:
        raise Unfound(
            f"Nothing was found, and {report.failed} documents could not be read. {report.warnings[0]}",
            field="data.url",
            retryable=True,
        )


def _catalogue(asked: Description, reader: Reader, report: Report) -> Iterator[list[Found]]:
    root = reader.run(reader.document(asked.url))
    if api.is_api(root.value):
        report.source = "api"
        yield from api.pages(root, reader, asked, report)
        return
    report.source = "catalogue"
    walk = Walk(root, reader, asked, report)
    while found := reader.run(walk.batch()):
        yield found


def _item(found: Found, asked: Description, access: Access, report: Report) -> Item | None:
    """The item that a document describes, if it is asked for."""
    try:
        pays = asked.requester_pays
        item = stac_item(found.value, found.url, wanted=asked.assets, requester_pays=pays)
    except (NoItem, ValueError) as error:
        report.failure(found.url, f"It {error}.")
        return None
    if not matches(item, asked, inside=found.inside):
        return None
    if not item.assets:
        report.warn(f"{found.url}: It has none of the assets that are wanted, and was left out.")
        return None
    return item


def _bucket(asked: Description, access: Access, report: Report, check: Check, deadline: float | None) -> Iterator[Item]:
    report.source = "bucket"
    field = "data.url" if asked.url else "data.prefix"
    place = aws_catalogue.place(asked.url) if asked.url else Place(access.reach.bucket, asked.prefix)
    if place is None or not place.bucket:
        raise Unfound("There is no such bucket.", field=field)
    fits = _glob(asked.pattern).fullmatch if asked.pattern else None
    own = place.bucket == access.reach.bucket
    try:
        for number, stored in enumerate(aws_catalogue.objects(place, access.reach)):
            if check and number % _LOOK_EVERY == 0:
                check()
            name = stored.key.removeprefix(place.key).lstrip("/") or stored.key
            if stored.key.endswith("/") or (own and stored.key.startswith(_NOT_DATA)) or (fits and not fits(name)):
                continue
            file = Place(place.bucket, stored.key)
            yield Item(
                name,
                file.url,
                {
                    "file": Asset(key=stored.key, size=stored.size)
                    if own
                    else Asset(href=file.url, size=stored.size, requester_pays=asked.requester_pays)
                },
            )
    except CloudFault as error:
        field = _field(error, field)
        raise Unfound(error.message, field=field, hint=error.hint, retryable=error.retryable) from error


def _field(error: OrcaError, otherwise: str = "data.url") -> str:
    """What of a description stands in the way."""
    return "data.requester_pays" if error.code == aws_catalogue.CLOSED else otherwise


def _urls(asked: Description, access: Access, report: Report, check: Check, deadline: float | None) -> Iterator[Item]:
    report.source = "urls"
    times: dict[str, int] = {}
    for url in asked.urls:
        parts = urlsplit(url)
        name = PurePosixPath(unquote(parts.path)).name or parts.netloc
        times[name] = times.get(name, 0) + 1
        if times[name] > 1:
            stem, dot, suffix = name.partition(".")
            name = f"{stem}-{times[name]}{dot}{suffix}"
        pays = asked.requester_pays and parts.scheme == "s3"
        yield Item(name, url, {"file": Asset(href=url, requester_pays=pays)})


_SEARCHES: dict[str, Callable[[Description, Access, Report, Check, float | None], Iterator[Item]]] = {
    "stac": _stac,
    "bucket": _bucket,
    "urls": _urls,
}


@cache
def _glob(pattern: str) -> re.Pattern[str]:
    """``*`` within a folder, ``**`` across folders, ``?`` one character."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile(
        "".join(parts.get(each, re.escape(each)) for each in re.findall(r"\*\*/|\*\*|\*|\?|[^*?]+", pattern))
    )
