"""Colours in logs: what programs write becomes classes, and nothing of it markup of theirs."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.web.ansi import ansi_html, ansi_plain


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("plain", "plain"),
        ("a < b & c", "a &lt; b &amp; c"),
        ("\x1b[31mred\x1b[0m not", '<span class="ansi-fore-1">red</span> not'),
        (
            "\x1b[1;92mok\x1b[22mthin",
            '<span class="ansi-bold ansi-fore-10">ok</span><span class="ansi-fore-10">thin</span>',
        ),
        ("\x1b[44;97mx\x1b[49my", '<span class="ansi-back-4 ansi-fore-15">x</span><span class="ansi-fore-15">y</span>'),
        ("\x1b[38;5;9mx", '<span class="ansi-fore-9">x</span>'),
        ("\x1b[38;5;196mx", '<span class="ansi-fore-9">x</span>'),
        ("\x1b[38;2;0;200;0mx", '<span class="ansi-fore-2">x</span>'),
        ("\x1b[38:2:0:200:0mx", '<span class="ansi-fore-2">x</span>'),
        ("\x1b[mx\x1b[2K\x1b[1Ay", "xy"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;javascript:alert(1)\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("50%\r100%", "50%100%"),
        ("\x1b[31m<b>", '<span class="ansi-fore-1">&lt;b&gt;</span>'),
        ('\x1b["><script>m', "&quot;&gt;&lt;script&gt;m"),
        ("\x1b[999;999mx", "x"),
        ("tab\there", "tab\there"),
        ("ends with \x1b", "ends with "),
    ],
)
def test_a_line_becomes(text: str, html: str) -> None:
    assert ansi_html(text) == html


class Read(HTMLParser):
    """What a browser makes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags = "", list[tuple[str, list[tuple[str, str | None]]]]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(st.sampled_from("\x1b[];:0123456789m<>&\"'a/\\\x07\r\n\t")))
def test_whatever_is_written_only_our_spans_come_out(text: str) -> None:
    read = Read()
    read.feed(ansi_html(text))
    read.close()
    assert read.text == ansi_plain(text)
    for tag, attributes in read.tags:
        assert tag == "span"
        ((name, value),) = attributes
        assert name == "class"
        assert re.fullmatch(r"(ansi-[a-z0-9-]+ ?)+", value or "")
