"""What pages show of a run, and the watch that keeps an open page up to date."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.template.loader import render_to_string

from portal.accounts.models import User
from portal.core.errors import NotFound
from portal.core.streams import Event
from portal.pipelines.models import Run, Step
from portal.pipelines.selectors import Line, OutputShown, log_lines, outputs_of, run_get
from portal.web.live import Fragments
from portal.web.states import run_advice, run_words

LINES_SHOWN = 2_000
_PREVIEWED = frozenset({"image", "table", "text", "markdown"})
_OPEN_AT_FIRST = 4
PARTS = ("head", "facts", "outputs")


@dataclass(frozen=True)
class LogWindow:
    """Some of a log: its lines, and whether there are earlier and later ones."""

    lines: list[Line]
    total: int
    before: int | None
    after: int | None

    execution: int

    @property
    def cursor(self) -> str:
        """Where a stream goes on."""
        return f"{self.execution}.{self.lines[-1].number if self.lines else 0}"


@dataclass(frozen=True)
class OutputRow:
    """An output; ``open`` when its preview is shown without being asked for."""

    output: OutputShown
    previewed: bool
    open: bool


def run_shown(owner: User, run_id: str, step_id: str = "") -> dict[str, Any]:
    """All that the page of a run shows but its log. Raises NotFound."""
    run = run_get(owner=owner, run_id=run_id)
    steps = list(run.steps.all())
    chosen = [step for step in steps if step_id in ("", step.pk)]
    if not chosen:
        raise NotFound("There is no such step.")
    step = chosen[0]
    return {
        "run": run,
        "step": step,
        "words": run_words(step.state, run.workspace.state),
        "advice": run_advice(step.state, step.reason),
        "cancelling": run.cancel_requested_at is not None and not run.is_final,
        "outputs": _rows(outputs_of(step)),
    }


def _rows(outputs: list[OutputShown]) -> list[OutputRow]:
    rows, opened = [], 0
    for output in outputs:
        previewed = output.kind in _PREVIEWED
        opens = previewed and opened < _OPEN_AT_FIRST and output.size < 5_000_000
        opened += opens
        rows.append(OutputRow(output, previewed, opens))
    return rows


def log_window(step: Step, *, after: int | None = None) -> LogWindow:
    """Lines that come after line ``after``; else the newest ones."""
    total = step.log_lines
    begin = max(0, total - LINES_SHOWN) if after is None else max(0, min(after, total))
    lines = list(log_lines(step, after=begin, most=LINES_SHOWN))
    last = lines[-1].number if lines else begin
    return LogWindow(
        lines,
        total,
        before=max(0, begin - LINES_SHOWN) if begin > 0 else None,
        after=last if last < total and len(lines) == LINES_SHOWN else None,
        execution=step.executions,
    )


class RunWatch(Fragments):
    """A run that is being watched: its parts as they change, its log as it grows."""

    # A last look for lines that travel slower than the news of the end.
    LAST_LOOKS = 20

    def __init__(self, run: Run, *, owner: User, request: HttpRequest) -> None:
        super().__init__(f"run:{run.pk}", draw=self._drawn)
        self._ask = (owner, run.pk, request.GET.get("step", ""))
        self._request, self._token = request, get_token(request)
        self._execution, self._after = _cursor_read(request.GET.get("after", ""))
        self._looks_left = self.LAST_LOOKS

    def _drawn(self) -> dict[str, str]:
        self._shown = run_shown(*self._ask) | {"csrf_value": self._token}
        return {f"run-{p}": render_to_string(f"web/runs/{p}.html", self._shown, self._request) for p in PARTS}

    def news(self) -> list[Event]:
        """What is new since the last look."""
        swaps = super().news()
        step: Step = self._shown["step"]
        lines = self._lines(step)
        if self._shown["run"].is_final:
            self._looks_left -= 1
            self.over = self._after >= step.log_lines or self._looks_left <= 0
        return [*lines, *swaps]

    def _lines(self, step: Step) -> list[Event]:
        if step.executions != self._execution:
            self._execution, self._after = step.executions, 0  # begun again, its log begins again
        lines = list(log_lines(step, after=self._after, most=LINES_SHOWN))
        if not lines:
            return []
        self._after = lines[-1].number
        body = {"execution": step.executions, "lines": [[line.number, line.stream, line.text] for line in lines]}
        return [Event("lines", body, cursor=f"{step.executions}.{self._after}")]


def _cursor_read(text: str) -> tuple[int, int]:
    """``2.35``: line 35 of the second execution has been seen. What cannot be read counts as nothing seen."""
    execution, _, after = text.partition(".")
    known = all(part.isascii() and part.isdigit() and len(part) < 10 for part in (execution, after))
    return (int(execution), int(after)) if known else (0, 0)
