"""Writing what must not be lost where the disk may be full: whoever fills it is stopped within seconds (`keeper`)."""

from __future__ import annotations

import errno
import os
import time
from typing import Callable, Final

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
LONGEST_WAIT: Final = 60.0
AGAIN_AFTER: Final = 0.2


def patiently(write: Callable[[], object], *, pause: Callable[[float], object] = time.sleep) -> None:
    """Call ``write``, again and again for up to ``LONGEST_WAIT`` seconds while there is no room. Raises ``OSError``.

    It must be able to begin anew. No lock should be held meanwhile: others may be about to make room.
    """
    until = time.monotonic() + LONGEST_WAIT
    while True:
        try:
            write()
        except OSError as error:
            if error.errno not in FULL or time.monotonic() > until:
                raise
        else:
            return
        pause(AGAIN_AFTER)


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write all bytes at ``offset``, the end of a file, or none of them. Raises ``OSError``."""
    written = 0
    try:
        while written < len(data):
            written += os.pwrite(descriptor, data[written:], offset + written)
    except OSError:
        os.ftruncate(descriptor, offset)
        raise
