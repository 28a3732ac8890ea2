"""What a search tells besides its items."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

MOST_WARNINGS: Final = 20
_MOST_COLLECTIONS = 200


@dataclass
class Report:
    """Filled while a search runs.

    ``complete``: all of it was searched, not only up to a limit. ``matched``: how many there are, where an API says so.
    """

    found: int = 0
    documents: int = 0
    failed: int = 0
    pruned: int = 0
    doubled: int = 0
    complete: bool = False
    matched: int | None = None
    source: str = ""
    collections: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    more_warnings: int = 0

    def warn(self, text: str) -> None:
        """Keep a warning, or count it where there are many."""
        if text in self.warnings:
            return
        if len(self.warnings) < MOST_WARNINGS:
            self.warnings.append(text)
        else:
            self.more_warnings += 1

    def failure(self, url: str, message: str) -> None:
        """Note a document that could not be read."""
        self.failed += 1
        self.warn(f"{url}: {message}")

    def collection(self, name: str) -> None:
        """Note a collection that the catalogue has."""
        if name not in self.collections and len(self.collections) < _MOST_COLLECTIONS:
            self.collections.append(name)
