"""States and the one way that they change: a conditional UPDATE whose row count tells who won."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Model, QuerySet

Transitions = Mapping[str, frozenset[str]]


def sources(transitions: Transitions, target: str) -> frozenset[str]:
    """The states from which ``target`` may be entered."""
    return frozenset(state for state, targets in transitions.items() if target in targets)


def move(
    rows: QuerySet[Any], transitions: Transitions, target: str, *, among: Iterable[str] = (), **fields: Any
) -> int:
    """Bring ``rows`` to ``target`` where the table allows it, setting ``fields`` with it; how many rows changed.

    ``among`` narrows the states that may be left. A loser of a race gets 0 and leaves quietly.
    """
    allowed = sources(transitions, target)
    if among:
        allowed &= frozenset(among)
    return rows.filter(state__in=allowed).update(state=target, **fields)


def moved(row: Model, transitions: Transitions, target: str, *, among: Iterable[str] = (), **fields: Any) -> bool:
    """``move`` for one row; on success the object in hand shows the new values."""
    rows = type(row)._default_manager.filter(pk=row.pk)
    if not move(rows, transitions, target, among=among, **fields):
        return False
    for name, value in {"state": target, **fields}.items():
        setattr(row, name, value)
    return True
