"""The summary of all tasks: what runs and what waits for its turn, what ran, and all of it along the time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from portal.accounts.models import User
from portal.pipelines.models import OF_STEPS_ONLY, OPEN, Run, State
from portal.pipelines.selectors import COUNTED, pipeline_names, runs_listed, runs_window, script_names
from portal.schedules.models import Schedule
from portal.schedules.selectors import schedules_of
from portal.web.forms import RunFilter
from portal.web.pictures import Bar, bars_svg, clock_svg
from portal.web.states import RUN, look_of
from portal.web.templatetags.orca import spoken
from portal.workspaces.selectors import workspaces_of

GOING_ON = 20
COMING_UP = 5
_SPANS = {
    "hour": ("Last hour", timedelta(hours=1)),
    "day": ("Last day", timedelta(days=1)),
    "week": ("Last week", timedelta(days=7)),
    "month": ("Last 30 days", timedelta(days=30)),
}
_MOST_BARS, _MOST_ROWS, _MOST_LEVELS = 400, 12, 4
# Bars that follow each other more closely than this part of the field lie below each other.
_APART = 0.026


def going_on(owner: User) -> list[Run]:
    """What runs, then what waits: for a slot, or (``held``) for an earlier run of its pipeline."""
    runs = runs_listed(owner)
    running = list(runs.filter(state=State.RUNNING)[:GOING_ON])
    return running + list(runs.filter(state=State.QUEUED)[: GOING_ON - len(running)])


def coming_up(owner: User) -> list[Schedule]:
    """The schedules that fire next."""
    return list(schedules_of(owner).filter(next_at__isnull=False).order_by("next_at", "id")[:COMING_UP])


def tasks_shown(owner: User, asked: QueryDict) -> dict[str, Any]:
    """All that the page of runs shows of those that fit what was ``asked``."""
    form = RunFilter(
        asked,
        choices={
            "state": [(state.value, RUN[state.value].label) for state in State if state not in OF_STEPS_ONLY],
            "pipeline": pipeline_names(owner),
            "script": script_names(owner),
            "workspace": list(workspaces_of(owner).values_list("pk", "name")),
            "span": [(name, label) for name, (label, _) in _SPANS.items()],
        },
    )
    runs, span = runs_listed(owner), "day"
    if form.is_valid():
        chosen = form.cleaned_data
        wanted: dict[str, Any] = {
            name: chosen[name] for name in ("state", "pipeline", "script", "workspace") if chosen[name]
        }
        if chosen["q"]:
            wanted["name__icontains"] = chosen["q"]
        runs = runs.filter(**wanted)
        span = chosen["span"] or span
    line = Timeline.of(runs, span)
    if form.is_valid() and form.cleaned_data["span"]:
        runs = runs.filter(created_at__gte=line.begin)
    before, after = (asked.get(name, "") for name in ("before", "after"))
    return {
        "form": form,
        "window": runs_window(runs, before=before, after=after),
        "counted": COUNTED,
        "filtered": any(asked.get(name) for name in form.fields),
        "running": going_on(owner),
        "coming": coming_up(owner),
        "timeline": line,
    }


@dataclass(frozen=True)
class Lane:
    """What one thing did: its name, its bars, and how many runs they are."""

    name: str
    href: str
    bars: SafeString
    count: int


@dataclass
class Timeline:
    """A lane for each pipeline and script that ran lately; ``more`` of them are not shown."""

    label: str
    begin: datetime
    lanes: list[Lane] = field(default_factory=list)
    more: int = 0
    cut: bool = False
    axis: SafeString = field(default_factory=SafeString)

    @classmethod
    def of(cls, runs: QuerySet[Run], span: str) -> Timeline:
        """The line of those ``runs`` that were at work within the span."""
        label, length = _SPANS[span]
        now = timezone.now()
        begin = now - length
        shown = runs.select_related("workspace", "script").only(*_SHOWN)
        found = list(shown.filter(created_at__gte=begin)[: _MOST_BARS + 1])
        cut = len(found) > _MOST_BARS
        found = found[:_MOST_BARS] + list(shown.filter(created_at__lt=begin, state__in=OPEN)[:_MOST_ROWS])
        seconds = length.total_seconds() * 1.02  # a little room behind the present
        groups = _grouped(found)
        return cls(
            label,
            begin,
            lanes=[_lane(group, begin, seconds, now) for group in groups[:_MOST_ROWS]],
            more=max(0, len(groups) - _MOST_ROWS),
            cut=cut,
            axis=clock_svg(begin, seconds),
        )


_SHOWN = (
    *(
        "name",
        "state",
        "held",
        "at_once",
        "pipeline",
        "script__name",
        "created_at",
        "started_at",
        "finished_at",
        "owner",
    ),
    "workspace__name",
)


def _grouped(runs: Iterable[Run]) -> list[list[Run]]:
    """Runs of the same pipeline or script together; those that ran last first."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.pipeline_id or run.script_id or run.name, []).append(run)
    return list(groups.values())


def _lane(runs: Sequence[Run], begin: datetime, seconds: float, now: datetime) -> Lane:
    def part(at: datetime) -> float:
        return (at - begin).total_seconds() / seconds

    free: list[float] = []  # where each level is free again
    bars = []
    for run in sorted(runs, key=lambda run: run.started_at or run.created_at):
        left, right = part(run.started_at or run.created_at), part(run.finished_at or now)
        level = next((level for level, at in enumerate(free) if at <= left), len(free))
        if level == _MOST_LEVELS:
            level = min(range(_MOST_LEVELS), key=lambda level: free[level])
        elif level == len(free):
            free.append(0.0)
        free[level] = max(right, left + _APART)
        bars.append(_bar(run, left, right, level))
    newest = runs[0]
    script = newest.script
    href = reverse("run_list")
    if newest.pipeline_id:
        href = reverse("pipeline", args=[newest.pipeline_id])
    elif newest.script_id:
        href = reverse("script", args=[newest.script_id])
    name = newest.name if newest.pipeline_id or script is None else script.name
    return Lane(name, href, bars_svg(bars, levels=max(len(free), 1), now=part(now)), len(runs))


def _bar(run: Run, left: float, right: float, level: int) -> Bar:
    look = look_of("run", run.state)
    word = "Waits its turn" if run.held and run.at_once is None else look.label
    took = f", {spoken(run.seconds)}" if run.seconds is not None else ""
    label = f"{run.name}: {word}{took}"
    kind = "thin" if run.state == State.QUEUED else "whole"
    return Bar(left, right, look.tone, label, kind, level, reverse("run", args=[run.pk]), look.icon)


def parts_of(shown: Mapping[str, Any]) -> tuple[str, ...]:
    """Which parts of the page move: a window of earlier runs stays as it is."""
    return ("running", "timeline") if shown["window"].newer else ("running", "timeline", "rows")
