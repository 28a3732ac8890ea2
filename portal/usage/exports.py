"""A statement as a table for programs (CSV) and as a page for the files (PDF)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import BytesIO, StringIO
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from portal.accounts.models import User
from portal.pipelines.models import Script
from portal.usage import letters, money
from portal.usage.models import UsageDay
from portal.usage.statements import Line, Statement, month_after, shown, unit_of

_HEAD = ("day", "workspace", "kind", "script", "quantity", "unit", "dollars", "why")


def statement_csv(owner: User, statement: Statement) -> str:
    """Each day's sums, then what is taken off, then the total."""
    text = StringIO()
    table = csv.writer(text)
    table.writerow(_HEAD)
    rows = UsageDay.objects.filter(owner=owner, day__gte=statement.month, day__lt=month_after(statement.month))
    found = list(rows.order_by("day", "workspace_id", "kind", "script").select_related("workspace"))
    names = dict(Script.objects.filter(pk__in={row.script for row in found}).values_list("pk", "name"))
    for row in found:
        quantity = shown(row.kind, row.quantity, statement.month)
        what = (row.workspace.name, row.get_kind_display(), names.get(row.script, row.script))
        table.writerow(
            [row.day, *map(_harmless, what), quantity, unit_of(row.kind), money.written(row.nano), ""],
        )
    for taken in statement.deductions:
        table.writerow(["", "", _harmless(taken.name), "", "", "", money.written(-taken.nano), _harmless(taken.why)])
    table.writerow(["", "", "Total", "", "", "", money.written(statement.total), ""])
    return text.getvalue()


def _harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def statement_pdf(owner: User, statement: Statement) -> bytes:
    """The statement on paper. Letters that `letters` has no picture of become empty boxes."""
    out = BytesIO()
    title = f"Orca: usage in {statement.month:%B %Y}"
    page = SimpleDocTemplate(
        out, pagesize=A4, title=title, author="Orca", leftMargin=20 * mm, rightMargin=20 * mm, topMargin=18 * mm
    )
    who = f"{owner.get_full_name()} ({owner.email})"
    parts: list[Flowable] = [
        _paragraph(title, "Title"),
        _paragraph(f"Statement of {who}. Days are counted in UTC, amounts are US dollars.", "Normal"),
        Spacer(1, 6 * mm),
    ]
    kinds = [[line.name, line.amount, money.shown(line.nano)] for line in statement.kinds]
    parts += _table("Used", ["What", "How much", "Costs"], kinds, ["Together", "", money.shown(statement.used)])
    taken = [[d.name, d.why, money.shown(-d.nano)] for d in statement.deductions]
    if taken:
        parts += _table("Taken off, in this order", ["What", "Why", "Amount"], taken, None)
    parts += [_paragraph(f"To pay: {money.shown(statement.total)}", "Heading2")]
    for name, lines in (("Workspaces", statement.workspaces), ("Scripts", statement.scripts)):
        parts += _table(name, ["Name", "", "Costs"], [_row(line) for line in lines], None)
    page.build(parts)
    return out.getvalue()


def _row(line: Line) -> list[str]:
    return [line.name, "", money.shown(line.nano)]


def _paragraph(text: str, style: str) -> Paragraph:
    return Paragraph(escape(letters.legible(text)), letters.styles()[style])


def _table(name: str, head: Sequence[str], rows: Sequence[Sequence[str]], foot: Sequence[str] | None) -> list[Flowable]:
    if not rows:
        return []
    body = [head, *rows, *([foot] if foot else [])]
    cells = [[_paragraph(text, "Normal") for text in row] for row in body]
    table = Table(cells, colWidths=[60 * mm, 75 * mm, 35 * mm], repeatRows=1)
    style: list[Any] = [
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, colors.grey),
        ("LINEBELOW", (0, 1), (-1, -1), 0.3, colors.lightgrey),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ]
    table.setStyle(TableStyle(style))
    return [_paragraph(name, "Heading3"), table, Spacer(1, 5 * mm)]
