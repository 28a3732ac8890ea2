"""Identifiers of everything that Orca names: ULIDs in lower case, sortable by time, hard to guess."""

from ulid import ULID


def new_id() -> str:
    """A fresh identifier, 26 characters of ``[0-9a-z]`` (https://github.com/ulid/spec)."""
    return str(ULID()).lower()
