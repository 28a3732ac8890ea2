"""Colours that programs write into their logs (ECMA-48 SGR, https://en.wikipedia.org/wiki/ANSI_escape_code) as classes.

Everything else that steers a terminal is left out: a log is text. The text itself is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from django.utils.html import escape

ESCAPE = "\x1b"
# CSI sequences, OSC strings (titles, links) up to their end, other escapes, and what else has no shape.
_CODES = re.compile(
    r"\x1b\[([0-9;:<=>?]*)[ -/]*([@-~])"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f]"
)
_STYLES = {1: "bold", 2: "dim", 3: "italic", 4: "under", 9: "gone"}
_ENDED = {22: ("bold", "dim"), 23: ("italic",), 24: ("under",), 29: ("gone",)}
# The sixteen colours as terminals draw them, to find the nearest of any other.
_RGB = (
    *((0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229)),
    *((127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0), (92, 92, 255), (255, 0, 255), (0, 255, 255)),
    (255, 255, 255),
)


def ansi_html(text: str) -> str:
    """A line of a log as HTML."""
    if not _CODES.search(text):
        return escape(text)
    return "".join(
        f'<span class="{" ".join(classes)}">{escape(part)}</span>' if classes else escape(part)
        for part, classes in _parts(text)
    )


def ansi_plain(text: str) -> str:
    """The same as mere text."""
    return _CODES.sub("", text)


def _parts(text: str) -> Iterator[tuple[str, list[str]]]:
    state: dict[str, str] = {}
    at = 0
    for found in _CODES.finditer(text):
        if found.start() > at:
            yield text[at : found.start()], list(state.values())
        at = found.end()
        if found[2] == "m":
            _change(state, found[1])
    if at < len(text):
        yield text[at:], list(state.values())


def _change(state: dict[str, str], codes: str) -> None:
    numbers = [int(part) if part.isdecimal() and len(part) < 4 else 0 for part in re.split("[;:]", codes)]
    index = 0
    while index < len(numbers):
        number = numbers[index]
        if number in {38, 48}:
            colour, taken = _extended(numbers[index + 1 :])
            if colour is not None:
                _paint(state, "fore" if number == 38 else "back", colour)
            index += taken
        else:
            _apply(state, number)
        index += 1


def _apply(state: dict[str, str], number: int) -> None:
    if number == 0:
        state.clear()
    elif number in _STYLES:
        state[_STYLES[number]] = f"ansi-{_STYLES[number]}"
    elif number in _ENDED:
        for name in _ENDED[number]:
            state.pop(name, None)
    elif number in {39, 49}:
        state.pop("fore" if number == 39 else "back", None)
    else:
        for first, layer, bright in ((30, "fore", 0), (40, "back", 0), (90, "fore", 8), (100, "back", 8)):
            if first <= number < first + 8:
                _paint(state, layer, number - first + bright)


def _paint(state: dict[str, str], layer: str, colour: int) -> None:
    state[layer] = f"ansi-{layer}-{colour}"


def _extended(numbers: Sequence[int]) -> tuple[int | None, int]:
    """The colour of ``5;n`` or ``2;r;g;b``, and how many numbers it took."""
    if len(numbers) >= 2 and numbers[0] == 5:
        return _of_256(numbers[1]), 2
    if len(numbers) >= 4 and numbers[0] == 2:
        return _nearest(numbers[1], numbers[2], numbers[3]), 4
    return None, len(numbers)


def _of_256(number: int) -> int | None:
    """Sixteen colours, a cube of 6 × 6 × 6, and 24 greys."""
    if number < 16:
        return number
    if number < 232:
        steps = (0, 95, 135, 175, 215, 255)
        cube = number - 16
        return _nearest(steps[cube // 36], steps[cube // 6 % 6], steps[cube % 6])
    return _nearest(*[8 + 10 * (number - 232)] * 3) if number < 256 else None


def _nearest(red: int, green: int, blue: int) -> int:
    def distance(index: int) -> int:
        r, g, b = _RGB[index]
        return (r - red) ** 2 + (g - green) ** 2 + (b - blue) ** 2

    return min(range(len(_RGB)), key=distance)
