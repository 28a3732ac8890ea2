"""Files and outputs as HTML: code with colours, tables, Markdown. What people upload is never taken for markup."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound

_MOST_ROWS = 100
_MOST_COLUMNS = 40
# HTML in Markdown is shown as text, and images from elsewhere are not fetched.
_markdown = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table").disable("image")


def code_html(text: str, path: str) -> SafeString:
    """A file with numbered lines and coloured by its kind."""
    formatter = HtmlFormatter(linenos="table", cssclass="source", wrapcode=True)
    return SafeString(highlight(text, _lexer_for(path), formatter))  # Pygments escapes what it is given


def _lexer_for(path: str) -> Lexer:
    try:
        return get_lexer_for_filename(path, stripnl=False)
    except ClassNotFound:
        return TextLexer(stripnl=False)


def markdown_html(text: str) -> SafeString:
    """Markdown as HTML."""
    return SafeString(_markdown.render(text))  # HTML in it is escaped


@dataclass(frozen=True)
class Sheet:
    """The beginning of a table; ``more`` when something was left out."""

    head: list[str]
    rows: list[list[str]]
    more: bool


def sheet_of(text: str, *, tabs: bool = False, cut: bool = False) -> Sheet:
    """The first rows of a CSV (or tab-separated) text.

    ``cut`` says that ``text`` is only the beginning, so that its last line may be half a line.
    """
    reader = csv.reader(io.StringIO(text), delimiter="\t" if tabs else ",")
    rows: list[list[str]] = []
    try:
        for row in reader:
            if row:
                rows.append(row[:_MOST_COLUMNS])
            if len(rows) > _MOST_ROWS + 1:
                break
    except csv.Error:
        pass
    whole = len(rows) <= _MOST_ROWS + 1
    if cut and whole and len(rows) > 1:
        rows.pop()
    head, body = (rows[0], rows[1 : _MOST_ROWS + 1]) if rows else ([], [])
    return Sheet(head, body, more=cut or not whole)
