"""How the mends of moto are put in place: one function, which fails loudly when moto has changed."""

from __future__ import annotations

from typing import Any


def replace(owner: object, name: str, value: object) -> Any:
    """Set ``owner.name`` to ``value`` and return what was there. ``AttributeError`` if nothing was."""
    original = getattr(owner, name)
    setattr(owner, name, value)
    return original
