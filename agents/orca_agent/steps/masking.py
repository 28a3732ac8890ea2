"""Secret values are blotted out before a line leaves the instance."""

from __future__ import annotations

import re
from typing import Final, Iterable, Optional, Pattern, Set

MASK: Final = b"***"
SHORTEST: Final = 4


class Masker:
    """Replaces the given values in bytes. Values of fewer than 4 bytes are left: they would blot out everything.

    Of a value of several lines, such as a private key, each line is masked.
    """

    def __init__(self, values: Iterable[str]) -> None:
        parts: Set[bytes] = set()
        for value in values:
            parts.update(line.strip().encode("utf-8", "surrogateescape") for line in value.splitlines())
        kept = sorted((part for part in parts if len(part) >= SHORTEST), key=len, reverse=True)
        self._pattern: Optional[Pattern[bytes]] = None
        self.longest = len(kept[0]) if kept else 0
        if kept:
            self._pattern = re.compile(b"|".join(re.escape(part) for part in kept))

    def mask(self, data: bytes) -> bytes:
        return self._pattern.sub(MASK, data) if self._pattern else data

    def mask_text(self, text: str) -> str:
        return self.mask(text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")
