"""``usage`` says what was used and what it costs; ``budget`` what may still be spent."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from ..command import Session, command
from ..output import dollars


def register(app: typer.Typer) -> None:
    """Put the commands in their places."""
    command(app, "usage", rich_help_panel="Money")(usage)
    command(app, "budget", rich_help_panel="Money")(budget)


def usage(
    session: Session,
    month: Annotated[str, typer.Argument(help="Such as 2026-11; all months unless given.", show_default=False)] = "",
) -> None:
    """What was used and what it costs: month by month, or the statement of one month."""
    if not month:
        found = session.api.get("usage/")
        rows = [(each["month"], dollars(each["used"])) for each in found["months"]]
        session.out.table(found, ["month", "used"], rows, empty="Nothing was used yet.")
        return
    statement = session.api.get(f"usage/{month}/")
    lines = [Text.assemble((statement["month"], "bold"), f"  {dollars(statement['total'])}")]
    for kind in statement["kinds"]:
        lines.append(Text(f"  {kind['name']:<22} {dollars(kind['cost']):>10}   {kind['quantity']} {kind['unit']}"))
    for title, part in (("by workspace", "workspaces"), ("by script", "scripts")):
        if statement[part]:
            lines.append(Text(f"  {title}", style="dim"))
        lines += [Text(f"    {each['name']:<20} {dollars(each['cost']):>10}") for each in statement[part]]
    for deduction in statement["deductions"]:
        lines.append(Text(f"  {deduction['name']:<22} {'-' + dollars(deduction['amount']).lstrip('-'):>10}"))
    lines.append(Text(f"  as a table: {statement['csv']}", style="dim"))
    session.out.result(statement, *lines)


def budget(session: Session) -> None:
    """What may be spent this month, what was, and what is set aside for what runs."""
    found = session.api.get("budget/")
    hard = dollars(found["hard"]) if found["hard"] is not None else "no limit"
    rows = [
        ("spent", dollars(found["spent"])),
        ("set aside", dollars(found["reserved"])),
        ("for storage", dollars(found["held"])),
        ("limit", hard),
        ("warns at", dollars(found["soft"])),
        ("left", dollars(found["left"]) if found["left"] is not None else "no limit"),
    ]
    lines = [Text.assemble((f"{found['month'][:7]}", "bold"), "  trial account" if found["trial"] else "")]
    lines += [Text(f"  {name:<12} {value:>10}") for name, value in rows]
    if found["reached"]:
        lines.append(Text("  The budget is reached: nothing further begins.", style="red"))
    elif found["soft_reached"]:
        lines.append(Text("  More was spent than you wanted to be warned at.", style="yellow"))
    session.out.result(found, *lines)
