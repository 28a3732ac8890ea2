"""Identifiers sort by time and are what the portal takes."""

from __future__ import annotations

from agents.orca_agent.ids import new_id
from agents.orca_agent.protocol import ID


def test_ids_have_the_form_of_the_protocol() -> None:
    assert all(ID.fullmatch(new_id()) for _ in range(100))


def test_ids_sort_by_time() -> None:
    assert new_id(1_000_000.0) < new_id(1_000_000.001) < new_id(2_000_000_000.0)


def test_the_time_stands_where_a_ulid_has_it() -> None:
    assert new_id(1_469_918_176.385)[:10] == "01ARYZ6S41".lower()


def test_ids_differ() -> None:
    assert len({new_id(1.0) for _ in range(1000)}) == 1000
