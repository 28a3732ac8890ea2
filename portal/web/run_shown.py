"""What pages show of a run, and the watch that keeps an open page up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.template.loader import render_to_string
from django.urls import reverse

from portal.accounts.models import User
from portal.core.errors import NotFound
from portal.core.streams import Event
from portal.pipelines.models import Run, State, Step
from portal.pipelines.selectors import (
    Line,
    OutputShown,
    inputs_of,
    log_lines,
    outputs_of,
    run_bare,
    step_found,
    steps_drawn,
    with_steps,
)
from portal.schedules.selectors import schedule_of_run
from portal.usage.selectors import run_cost
from portal.web.ansi import ansi_html, ansi_plain
from portal.web.job_shown import SLOW, job_behind, shard_pair
from portal.web.live import Fragments
from portal.web.run_pictures import Pictures
from portal.web.states import pipeline_run_words, run_advice, run_words

LINES_SHOWN = 2_000
_PREVIEWED = frozenset({"image", "table", "text", "markdown"})
_OPEN_AT_FIRST = 4
# Parts of the page that are drawn anew as the run goes on: element id and template.
_OF_SCRIPT = {f"run-{part}": f"web/runs/{part}.html" for part in ("head", "facts", "outputs")}
_OF_SHARD = {
    "step-head": "web/runs/step_head.html",
    "run-facts": "web/runs/step_facts.html",
    "run-outputs": "web/runs/outputs.html",
}
_OF_PIPELINE = {
    "run-head": "web/runs/pipeline_head.html",
    "run-about": "web/runs/pipeline_facts.html",
    "step-head": "web/runs/step_head.html",
    "run-facts": "web/runs/step_facts.html",
    "run-outputs": "web/runs/outputs.html",
}
_ILL_FIRST = ("lost", "timed_out", "failed", "running", "cancelled", "queued", "waiting", "succeeded", "skipped")


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


def run_shown(owner: User, run_id: str, step_id: str = "", execution: int | None = None) -> dict[str, Any]:
    """All that the page of a run shows but its log; ``execution`` says of which try of the step. Raises NotFound."""
    run = run_bare(owner=owner, run_id=run_id)
    if run.pipeline_id is not None:
        return _pipeline_run_shown(owner, run, step_id, execution)
    if run.at_once is not None:
        return _shard_shown(owner, run, step_id, execution)
    steps = list(with_steps(run).steps.all())
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
        "over": run.is_final,
        "cost": run_cost(run),
    }


def _pipeline_run_shown(owner: User, run: Run, step_id: str, execution: int | None) -> dict[str, Any]:
    steps = steps_drawn(run)
    step = step_found(owner=owner, run_id=run.pk, step_id=step_id or _telling(steps))
    past = next((t for t in step.tries if t["execution"] == execution), None)
    states = {each.key: each.state for each in steps}
    needed = {*step.needs, *(given["step"] for given in step.inputs)}
    return {
        "run": run,
        "step": step,
        "past": past,
        "number": step.tries.index(past) + 1 if past else len(step.tries) + 1,
        "words": run_words(step.state, step.workspace.state),
        "advice": run_advice(step.state, step.reason),
        "run_words": pipeline_run_words(run, [each.state for each in steps]),
        "cancelling": run.cancel_requested_at is not None and not run.is_final,
        "usable": run.pipeline is not None and run.pipeline.archived_at is None,
        "retryable": run.is_final and any(state != "succeeded" for state in states.values()),
        "step_again": run.is_final and all(states.get(key) == "succeeded" for key in needed),
        "schedule": schedule_of_run(run) if run.via == Run.Via.SCHEDULE else None,
        "inputs": inputs_of(step),
        "outputs": _rows(outputs_of(step)),
        "over": step.is_final or past is not None,
        "cost": run_cost(run),
        "pictures": Pictures(run, steps, chosen=step.pk),
    }


def _shard_shown(owner: User, run: Run, step_id: str, execution: int | None) -> dict[str, Any]:
    """One step of a run that may have ten thousand: the others are not looked at. ``job`` is whose shard it is."""
    job = job_behind(run)
    if not step_id:
        step_id = telling_shard(run)
    if not step_id:
        return {"run": run, "job": job}
    step = step_found(owner=owner, run_id=run.pk, step_id=step_id)
    past = next((t for t in step.tries if t["execution"] == execution), None)
    return {
        "run": run,
        "job": job,
        "step": step,
        "shard": True,
        "part_of": reverse("job_list"),
        "pair": shard_pair(step) if job and job.twins else [],
        "past": past,
        "number": step.tries.index(past) + 1 if past else len(step.tries) + 1,
        "words": run_words(step.state, step.workspace.state),
        "advice": run_advice(step.state, step.reason),
        "cancelling": run.cancel_requested_at is not None and not run.is_final,
        "outputs": _rows(outputs_of(step)),
        "over": step.is_final or past is not None,
    }


def telling_shard(run: Run) -> str:
    """The first shard that failed, else the first of all; empty where there are none yet."""
    shards = Step.objects.filter(run=run.pk).order_by("position").values_list("pk", flat=True)
    return shards.filter(state__in=(State.FAILED, State.TIMED_OUT, State.LOST)).first() or shards.first() or ""


def _telling(steps: Sequence[Step]) -> str:
    """The step that one most likely wants to see: what went wrong first, else what is going on."""
    if not steps:
        raise NotFound("This run has no steps.")
    rank = {state: index for index, state in enumerate(_ILL_FIRST)}
    return min(steps, key=lambda step: (rank.get(step.state, 99), step.position)).pk


def _rows(outputs: list[OutputShown]) -> list[OutputRow]:
    rows, opened = [], 0
    for output in outputs:
        previewed = output.kind in _PREVIEWED
        opens = previewed and opened < _OPEN_AT_FIRST and output.size < 5_000_000
        opened += opens
        rows.append(OutputRow(output, previewed, opens))
    return rows


def log_window(step: Step, *, after: int | None = None, past: Mapping[str, Any] | None = None) -> LogWindow:
    """Lines that come after line ``after``, else the newest ones; of an earlier try where ``past`` is one."""
    done = step.origin or step
    execution = past["execution"] if past else done.executions
    total = past["log_lines"] if past else done.log_lines
    begin = max(0, total - LINES_SHOWN) if after is None else max(0, min(after, total))
    lines = list(log_lines(step, after=begin, most=LINES_SHOWN, execution=execution))
    last = lines[-1].number if lines else begin
    return LogWindow(
        lines,
        total,
        before=max(0, begin - LINES_SHOWN) if begin > 0 else None,
        after=last if last < total and len(lines) == LINES_SHOWN else None,
        execution=execution,
    )


class RunWatch(Fragments):
    """A run that is being watched: its parts as they change, its log as it grows."""

    # A last look for lines that travel slower than the news of the end.
    LAST_LOOKS = 20

    def __init__(self, run: Run, *, owner: User, request: HttpRequest) -> None:
        super().__init__(f"run:{run.pk}", draw=self._drawn)
        self._ask = (owner, run.pk, request.GET.get("step", ""), execution_asked(request))
        self._request, self._token = request, get_token(request)
        self._execution, self._after = _cursor_read(request.GET.get("after", ""))
        self._looks_left = self.LAST_LOOKS
        if run.at_once is not None:
            self.pause = SLOW  # it hears of all shards, and shows one

    def _drawn(self) -> dict[str, str]:
        self._shown = run_shown(*self._ask) | {"csrf_value": self._token}
        pictures: Pictures | None = self._shown.get("pictures")
        parts = _OF_PIPELINE if pictures else _OF_SHARD if self._shown.get("shard") else _OF_SCRIPT
        drawn = {name: render_to_string(template, self._shown, self._request) for name, template in parts.items()}
        return drawn | (pictures.moving() if pictures else {})

    def news(self) -> list[Event]:
        """What is new since the last look."""
        swaps = super().news()
        step: Step = self._shown["step"]
        done = step.origin or step
        if self._shown.get("past"):
            self.over = self._shown["run"].is_final
            return swaps
        lines = self._lines(done)
        if self._shown["run"].is_final or (self._shown.get("shard") and step.is_final):
            self._looks_left -= 1
            self.over = self._after >= done.log_lines or self._looks_left <= 0
        return [*lines, *swaps]

    def _lines(self, step: Step) -> list[Event]:
        if step.executions != self._execution:
            self._execution, self._after = step.executions, 0  # begun again, its log begins again
        lines = list(log_lines(step, after=self._after, most=LINES_SHOWN))
        if not lines:
            return []
        self._after = lines[-1].number
        body = {"execution": step.executions, "lines": [_sent(line) for line in lines]}
        return [Event("lines", body, cursor=f"{step.executions}.{self._after}")]


def _sent(line: Line) -> list[Any]:
    """Number, stream, text, when; and its HTML, should it be more than the text."""
    plain = ansi_plain(line.text)
    sent: list[Any] = [line.number, line.stream, plain, line.at]
    return sent if plain == line.text else [*sent, ansi_html(line.text)]


def execution_asked(request: HttpRequest) -> int | None:
    """Of which execution of the step the log is asked for; None for the latest."""
    asked = request.GET.get("try", "")
    return int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else None


def _cursor_read(text: str) -> tuple[int, int]:
    """``2.35``: line 35 of the second execution has been seen. What cannot be read counts as nothing seen."""
    execution, _, after = text.partition(".")
    known = all(part.isascii() and part.isdigit() and len(part) < 10 for part in (execution, after))
    return (int(execution), int(after)) if known else (0, 0)
