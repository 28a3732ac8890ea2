"""Secret values are blotted out before a line leaves the instance."""

from __future__ import annotations

import base64
import json
import re
from typing import Final, Iterable, Iterator, Optional, Pattern, Set
from urllib.parse import quote, quote_plus

MASK: Final = b"***"
SHORTEST: Final = 4
SHORTEST_ENCODED: Final = 8
LONGEST_ENCODED: Final = 4_096
"""Bytes: a larger value is a file, such as a keystore; of these the lines are masked, not their encodings."""
BASE64_WIDTHS: Final = (76, 64)
"""Characters after which ``base64`` and ``openssl`` break their lines."""


class Masker:
    """Replaces the given values in bytes. Values of fewer than 4 bytes are left: they would blot out everything.

    Of a value of several lines, such as a private key, each line is masked. So is a value in base64, wherever in the
    encoded text it begins, as a part of an address, and as text in JSON.
    """

    def __init__(self, values: Iterable[str]) -> None:
        parts: Set[bytes] = set()
        for value in values:
            data = value.encode("utf-8", "surrogateescape")
            lines = [line.strip().encode("utf-8", "surrogateescape") for line in value.splitlines()]
            parts.update(line for line in lines if len(line) >= SHORTEST)
            if len(data) <= LONGEST_ENCODED:
                parts.update(form for form in _encoded(value, data) if len(form) >= SHORTEST_ENCODED)
        kept = sorted(parts, key=len, reverse=True)
        self._pattern: Optional[Pattern[bytes]] = None
        self.longest = len(kept[0]) if kept else 0
        if kept:
            self._pattern = re.compile(b"|".join(re.escape(part) for part in kept))

    def mask(self, data: bytes) -> bytes:
        return self._pattern.sub(MASK, data) if self._pattern else data

    def mask_text(self, text: str) -> str:
        return self.mask(text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")


def _encoded(value: str, data: bytes) -> Iterator[bytes]:
    """How a value looks when it is printed by something that encodes."""
    for before in range(3):
        # What stands before the value shifts it by 0, 1 or 2 bytes; the characters that others share are left out.
        first, end = -(-8 * before // 6), 8 * (before + len(data)) // 6
        for altchars in (b"+/", b"-_"):
            whole = base64.b64encode(b"\0" * before + data, altchars)
            text = whole[first:end]
            yield text
            yield whole[first:]  # where nothing comes after it
            if before == 0:
                for width in BASE64_WIDTHS:
                    yield from (text[start : start + width] for start in range(0, len(text), width))
    for text_form in (quote(value, safe="", errors="replace"), quote_plus(value, errors="replace")):
        yield text_form.encode()
    for ascii_only in (True, False):
        yield json.dumps(value, ensure_ascii=ascii_only)[1:-1].encode("utf-8", "surrogateescape")
