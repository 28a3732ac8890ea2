"""Identifiers that sort by time: ULIDs in lower case (https://github.com/ulid/spec)."""

from __future__ import annotations

import secrets
import time
from typing import Final, Optional

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(now: Optional[float] = None) -> str:
    """A new ULID: 48 bits of milliseconds since the epoch, 80 random bits."""
    moment = int((time.time() if now is None else now) * 1000)
    value = (moment << 80) | secrets.randbits(80)
    return "".join(ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))
