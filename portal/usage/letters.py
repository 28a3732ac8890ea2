"""The letters of documents: fonts that have those of most alphabets, and what stands for the others."""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

# What is written for a letter that the font does not have: Chinese, Japanese, Korean, most pictures.
MISSING: Final = "\N{WHITE SQUARE}"
_FOLDER = Path(__file__).parent / "fonts" / "dejavu"
_PLAIN, _BOLD = "DejaVuSans", "DejaVuSans-Bold"


@cache
def _fonts() -> Mapping[str, TTFont]:
    """Both fonts, registered."""
    fonts = {name: TTFont(name, _FOLDER / f"{name}.ttf") for name in (_PLAIN, _BOLD)}
    for font in fonts.values():
        pdfmetrics.registerFont(font)
    return fonts


@cache
def styles() -> Mapping[str, ParagraphStyle]:
    """Styles of paragraphs by name, in our fonts; the headings are bold."""
    _fonts()
    usual = getSampleStyleSheet()
    return {
        name: ParagraphStyle(f"{name} of ours", parent=usual[name], fontName=_PLAIN if name == "Normal" else _BOLD)
        for name in ("Normal", "Title", "Heading2", "Heading3")
    }


@cache
def _known() -> Container[int]:
    """The letters that both fonts have."""
    plain, bold = (set(font.face.charToGlyph) for font in _fonts().values())
    return plain & bold


def legible(text: str) -> str:
    """The text with ``MISSING`` for each letter that cannot be written. Accents are one with their letters."""
    known = _known()
    return "".join(
        letter if letter.isspace() or ord(letter) in known else MISSING
        for letter in unicodedata.normalize("NFC", text)
        if unicodedata.category(letter) not in {"Cf", "Cc"} or letter.isspace()
    )
