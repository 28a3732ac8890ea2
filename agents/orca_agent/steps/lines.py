"""From the bytes that a program prints to lines of text: any bytes, any length, any end of line."""

from __future__ import annotations

import time
from typing import Callable, Final, List, Tuple

from agents.orca_agent.events import MAX_LINE
from agents.orca_agent.steps.masking import Masker

PROGRESS_EVERY: Final = 1.0


class LineSplitter:
    """Cuts one stream into lines of at most `MAX_LINE` bytes, secrets masked, ready to be shown.

    A carriage return lets a program draw over its line, as progress bars do: of such lines one a second is
    kept, and what stands there at the end.
    """

    def __init__(self, masker: Masker, clock: Callable[[], float] = time.monotonic) -> None:
        self._masker = masker
        self._clock = clock
        self._buffer = b""
        self._last_progress = float("-inf")

    def feed(self, data: bytes) -> List[str]:
        """The lines that are complete with these bytes."""
        *complete, self._buffer = (self._buffer + data).split(b"\n")
        lines: List[str] = []
        for line in complete:
            lines += self._finish(line)
        self._shorten(lines)
        return lines

    def finish(self) -> List[str]:
        """The rest, when the stream has ended."""
        rest, self._buffer = self._buffer, b""
        return self._finish(rest) if rest else []

    def _finish(self, line: bytes) -> List[str]:
        line = line.rstrip(b"\r")
        if b"\r" in line:
            line = line[line.rindex(b"\r") + 1 :]
        masked = self._masker.mask(line)
        if len(masked) <= MAX_LINE:
            return [to_text(masked)]
        return [to_text(part) for part in _parts(masked)]

    def _shorten(self, lines: List[str]) -> None:
        """Keep the unfinished line short; enough of it stays for a secret that has only half arrived."""
        drawn, rest = _drawn_over(self._buffer)
        if drawn:
            self._buffer = rest
            now = self._clock()
            if now - self._last_progress >= PROGRESS_EVERY:
                self._last_progress = now
                lines += self._finish(drawn)
        if len(self._buffer) <= MAX_LINE + self._masker.longest:
            return
        masked = self._masker.mask(self._buffer)
        keep = self._masker.longest
        *full, rest = _parts(masked[: len(masked) - keep])
        lines += [to_text(part) for part in full]
        self._buffer = rest + masked[len(masked) - keep :]


def _drawn_over(line: bytes) -> Tuple[bytes, bytes]:
    """What stood in an unfinished line before its last carriage return, and what has been drawn since.

    A return at the very end may be the first half of a line's end in the manner of Windows: it is left.
    """
    cut = line.rfind(b"\r", 0, max(0, len(line) - 1))
    return (line[:cut].rstrip(b"\r"), line[cut + 1 :]) if cut >= 0 else (b"", line)


def _parts(data: bytes) -> List[bytes]:
    """Pieces of at most `MAX_LINE` bytes that do not cut a character of UTF-8 in two."""
    parts, start = [], 0
    while len(data) - start > MAX_LINE:
        end = start + MAX_LINE
        for back in range(4):
            if data[end - back] & 0xC0 != 0x80:
                end -= back
                break
        parts.append(data[start:end])
        start = end
    parts.append(data[start:])
    return parts


def to_text(data: bytes) -> str:
    """Bytes of a program as text that a message can carry."""
    return data.decode("utf-8", "replace").replace("\0", "\ufffd")
