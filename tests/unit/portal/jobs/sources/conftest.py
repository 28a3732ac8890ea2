"""What the tests of data sources use: a site, and a search of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from portal.jobs.sources import Access, Item, Report, checked, find
from tests.fixtures.catalogues import Site, serving


@pytest.fixture
def site() -> Iterator[Site]:
    """A web site of this test."""
    with serving() as made:
        yield made


QUICK = Access(private=True, within=2, pause=0.01, pace=0)


def search(
    site: Site, path: str = "/catalog.json", *, access: Access = QUICK, **data: Any
) -> tuple[list[Item], Report]:
    """What is found at a path of a site, and the report of the search."""
    report = Report()
    asked = checked({"kind": "stac", "url": site.url + path, **data})
    return list(find(asked, access=access, report=report)), report


def names(found: list[Item]) -> list[str]:
    """The items' ids, in order."""
    return [item.id for item in found]
