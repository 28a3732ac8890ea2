"""What the program says: results on stdout, everything else on stderr, JSON where it was asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from .errors import CliError

_TONES = {
    "ready": "green",
    "running": "cyan",
    "succeeded": "green",
    "applying": "cyan",
    "planning": "cyan",
    "planned": "yellow",
    "failed": "red",
    "lost": "red",
    "timed_out": "red",
    "degraded": "yellow",
    "cancelled": "yellow",
    "created": "green",
    "changed": "cyan",
}
# Wider than any table: what is piped is neither folded nor cut.
_ENDLESS = 100_000


class Output:
    """Where to say what. In JSON mode stdout carries one JSON value and nothing else."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        width = None if sys.stdout.isatty() else _ENDLESS
        self._out = Console(file=sys.stdout, width=width, highlight=False, soft_wrap=True)
        self._err = Console(file=sys.stderr, highlight=False, soft_wrap=True)

    @property
    def asks(self) -> bool:
        """Whether there is a person to ask."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    def result(self, value: Any, *shown: str | Text | Table) -> None:
        """The outcome of a command: ``value`` as JSON, or what a person wants to see of it."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
            sys.stdout.flush()
            return
        for part in shown:
            self._out.print(Text(part) if isinstance(part, str) else part)

    def table(self, value: Any, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
        """A list: ``value`` as JSON, or a table; ``empty`` is said on stderr where it has no rows."""
        made = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            made.add_column(column.upper(), no_wrap=True)
        for row in rows:
            made.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
        if made.row_count or self.as_json:
            self.result(value, made)
        else:
            self.note(empty)

    def note(self, text: str, *, style: str = "") -> None:
        """Something on the side, for a person."""
        self._err.print(Text(text, style=style))

    def warn(self, text: str) -> None:
        """Something that a person should see."""
        self.note(text, style="yellow")

    def prompt(self, text: str) -> None:
        """A question, without a line's end."""
        self._err.print(Text(text, style="bold"), end="")

    def error(self, error: CliError) -> None:
        """Why it ends here: two lines at most, or the API's own shape as JSON."""
        if self.as_json:
            sys.stderr.write(json.dumps({"error": error.body()}, ensure_ascii=False) + "\n")
            return
        message, *hints = error.lines()
        self._err.print(Text.assemble(("orca: ", "bold red"), message))
        for hint in hints:
            self._err.print(Text(f"      {hint}", style="dim"))

    def line(self, text: str, stream: str = "out", prefix: str = "") -> None:
        """A line of a script's log as the script wrote it; in JSON mode all of them go to stderr."""
        target = sys.stdout if stream == "out" and not self.as_json else sys.stderr
        target.write(f"{prefix}{text}\n")
        target.flush()

    @contextmanager
    def busy(self, text: str) -> Iterator[Status]:
        """Shows what one waits for: a spinner on a terminal, elsewhere a line whenever it changes."""
        if not self._err.is_terminal:
            yield Status(self, text)
            return
        with self._err.status(Text(text)) as spinner:
            yield Status(self, text, spinner)

    @contextmanager
    def transfers(self) -> Iterator[Progress]:
        """Progress bars for files, on a terminal; elsewhere they are silent."""
        bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            SpinnerColumn(finished_text=" "),
            console=self._err,
            disable=not self._err.is_terminal,
            transient=True,
        )
        with bars:
            yield bars

    @contextmanager
    def counting(self, what: str) -> Iterator[Counting]:
        """One bar for many of ``what``, on a terminal; elsewhere a line at every tenth of them."""
        if not self._err.is_terminal:
            yield Counting(self, what)
            return
        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}", markup=False),
            console=self._err,
            transient=True,
        )
        with bar:
            yield Counting(self, what, bar)


class Counting:
    """How many are done, and a few words on it."""

    def __init__(self, output: Output, what: str, bar: Progress | None = None) -> None:
        self._output, self._what, self._bar, self._told = output, what, bar, ("", -1)
        self._task = bar.add_task("", total=None, said="") if bar else None

    def show(self, heading: str, done: int, total: int | None, said: str) -> None:
        """What it is now; ``total`` is nothing as long as nobody knows."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=heading, completed=done, total=total, said=said)
            return
        tenth = done * 10 // total if total else 0
        if (heading, tenth) == self._told:
            return
        self._told = (heading, tenth)
        counted = f" {done} of {total} {self._what}" if total else ""
        self._output.note(f"{heading}:{counted}{', ' if counted and said else ' ' if said else ''}{said}".rstrip(": "))


class Status:
    """The line that says what one waits for."""

    def __init__(self, output: Output, text: str, spinner: Any = None) -> None:
        self._output, self._spinner, self._said = output, spinner, ""
        self.say(text)

    def say(self, text: str) -> None:
        """What it is now."""
        if text == self._said:
            return
        self._said = text
        if self._spinner is None:
            self._output.note(text)
        else:
            self._spinner.update(Text(text))


def state(name: str) -> Text:
    """A state in its colour."""
    return Text(name, style=_TONES.get(name, ""))


def ago(instant: str | None) -> str:
    """How long ago (or in how long) an instant of the API's is: ``3 min ago``."""
    if not instant:
        return "-"
    seconds = (datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds()
    shown = duration(abs(seconds))
    return f"in {shown}" if seconds < 0 else f"{shown} ago"


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def dollars(amount: str | float | None) -> str:
    """An amount of the API's, with as many digits as a small one needs: ``$1.50``, ``$0.0042``."""
    if amount is None:
        return "-"
    value = float(amount)
    digits = 2 if abs(value) >= 0.0995 or not value else 3 if abs(value) >= 0.00995 else 4
    return f"{'-' if value < 0 else ''}${abs(value):,.{digits}f}"


def size(count: int | None) -> str:
    """Bytes as people read them."""
    if count is None:
        return "-"
    number = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
