"""Parts of a page that are kept up to date while it is open; the page's side is ``static/orca/live.js``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from portal.core.streams import PAUSE, Event


class Fragments:
    """A watch of parts of a page, each drawn anew and sent when it has become different.

    ``draw`` gives element ids and their HTML, and sets ``over`` once nothing more will change.
    """

    # What the page itself keeps right (templatetags ``ago`` and ``duration``) is no news.
    _CLOCKS = re.compile(r"(<(?:time|span)[^>]*\bdata-(?:ago|since)\b[^>]*>)[^<]*")

    def __init__(self, *topics: str, draw: Callable[[], Mapping[str, str]]) -> None:
        self.topics = topics
        self.over = False
        self.pause = PAUSE
        self._draw = draw
        self._sent: dict[str, str] = {}

    def news(self) -> list[Event]:
        """The parts that changed; at first all of them."""
        changed = self.changed(self._draw())
        return [Event("swap", changed)] if changed else []

    def changed(self, drawn: Mapping[str, str]) -> dict[str, str]:
        """Those of the parts that differ from what was sent last."""
        plain = {name: self._CLOCKS.sub(r"\1", html) for name, html in drawn.items()}
        found = {name: html for name, html in drawn.items() if self._sent.get(name) != plain[name]}
        self._sent |= plain
        return found
