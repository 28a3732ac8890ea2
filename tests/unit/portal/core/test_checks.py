"""What Orca asks of its database."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from portal.core import checks


def mysql_of(charset: str) -> dict[str, Any]:
    cursor = SimpleNamespace(execute=lambda _: None, fetchone=lambda: (charset,))
    return {"default": SimpleNamespace(vendor="mysql", cursor=lambda: nullcontext(cursor))}


@pytest.mark.django_db
def test_the_database_of_the_tests_takes_all_characters() -> None:
    assert checks.database_takes_all_characters(databases=["default"]) == []


@pytest.mark.parametrize(("charset", "problems"), [("utf8mb4", 0), ("latin1", 1), ("utf8mb3", 1)])
def test_a_database_that_does_not_is_refused(monkeypatch: pytest.MonkeyPatch, charset: str, problems: int) -> None:
    monkeypatch.setattr(checks, "connections", mysql_of(charset))
    assert len(checks.database_takes_all_characters(databases=["default"])) == problems
    assert checks.database_takes_all_characters(databases=None) == []
