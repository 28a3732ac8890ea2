"""The pictures of a pipeline's run: its steps with their states, and when each of them was at work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from portal.pipelines.models import Run, Step
from portal.web.graph import layout
from portal.web.pictures import DENSE, Bar, Node, axis_svg, bars_svg, dag_svg, dag_width, node_inside, span_rounded
from portal.web.states import Look, look_of
from portal.web.templatetags.orca import duration, icon

# Half a page, in pixels.
_HALF = 440
_CURRENT = ' aria-current="true"'


class Pictures:
    """Drawn of the same steps: a whole for the page, and the parts of it that move, by their elements' ids."""

    def __init__(self, run: Run, steps: Sequence[Step], *, chosen: str = "") -> None:
        self.count = len(steps)
        self._steps, self._chosen = steps, chosen
        self._layout = layout(tuple((step.key, tuple(step.needs)) for step in steps))
        self._begin, self._seconds = _span(run, steps)
        self._now = timezone.now()

    def dag(self) -> SafeString:
        """The steps and their arrows."""
        return dag_svg(self._layout, {step.key: self._node(step) for step in self._steps})

    @property
    def wide(self) -> bool:
        """Whether the steps need the whole width of a page."""
        return self.count > DENSE or dag_width(self._layout) > _HALF

    @property
    def left_out(self) -> int:
        """How many arrows the picture leaves out."""
        return self._layout.left_out

    def axis(self) -> SafeString:
        """The time that the rows share."""
        return axis_svg(self._seconds)

    def rows(self) -> SafeString:
        """A row a step."""
        html = "".join(
            f'<a class="gantt-row" id="row-{step.pk}" href="{_address(step)}"'
            f"{_CURRENT if step.pk == self._chosen else ''}>{self._row(step)}</a>"
            for step in self._steps
        )
        return mark_safe(html)  # noqa: S308 (what is not ours is escaped)

    def moving(self) -> dict[str, str]:
        """What changes as the run goes on."""
        nodes = {f"node-{step.pk}": node_inside(self._node(step), dense=self.count > DENSE) for step in self._steps}
        rows = {f"row-{step.pk}": self._row(step) for step in self._steps}
        return {**nodes, **rows, "gantt-axis": str(self.axis())}

    def _node(self, step: Step) -> Node:
        look, word = step_look(step)
        return Node(step.key, look, word, f"node-{step.pk}", _address(step), step.pk == self._chosen)

    def _row(self, step: Step) -> str:
        look, word = step_look(step)
        moves = " icon-turns" if look.moves else ""
        shape = icon(look.icon, word, f"tone-{look.tone}{moves}")
        own = step.origin_id is None
        since = step.started_at if step.state == "running" else None
        took = duration(step.seconds if own else None, since)
        tries = f"<small>{len(step.tries) + 1} tries</small>" if step.tries else ""
        said = "" if own else "<small>done in an earlier run</small>"
        return (
            f'<span class="gantt-name">{shape}<span>{escape(step.key)}</span>{tries}{said}</span>'
            f'{bars_svg(self._bars(step))}<span class="gantt-took">{took}</span>'
        )

    def _bars(self, step: Step) -> Iterator[Bar]:
        if step.origin_id is not None:
            return
        for number, earlier in enumerate(step.tries, 1):
            look = look_of("run", earlier["state"])
            begin, end = _instant(earlier["started_at"]), _instant(earlier["finished_at"])
            yield Bar(self._part(begin), self._part(end), look.tone, f"Try {number}: {look.label}")
        look, word = step_look(step)
        if step.released_at and (step.started_at or step.state == "queued"):
            until = step.started_at or self._now
            yield Bar(self._part(step.released_at), self._part(until), "wait", "Waits for a free slot", kind="thin")
        if step.started_at:
            yield Bar(self._part(step.started_at), self._part(step.finished_at or self._now), look.tone, word)

    def _part(self, at: datetime) -> float:
        return (at - self._begin).total_seconds() / self._seconds


def step_look(step: Step) -> tuple[Look, str]:
    """A step's state as shape and word, with what is special about it."""
    if step.state == "waiting" and step.retry_at is not None:
        return Look("Tried again soon", "warn", "arrow-clockwise"), "Tried again soon"
    look = look_of("run", step.state)
    return look, "Done before" if step.origin_id is not None else look.label


def _address(step: Step) -> str:
    return f"?step={step.pk}#step"


def _instant(text: Any) -> datetime:
    return datetime.fromisoformat(text)


def _span(run: Run, steps: Sequence[Step]) -> tuple[datetime, float]:
    """When the first step began, and how many seconds the field of the bars has."""
    own = [step for step in steps if step.origin_id is None]
    begins = [at for step in own for at in (step.released_at, step.started_at) if at is not None]
    tries = [earlier for step in own for earlier in step.tries]
    begins += [_instant(earlier["started_at"]) for earlier in tries]
    begin = min(begins, default=run.started_at or run.created_at)
    if not run.is_final:
        return begin, span_rounded(max((timezone.now() - begin).total_seconds(), 1.0) * 1.05)
    ends = [step.finished_at for step in own if step.finished_at is not None and step.started_at is not None]
    ends += [_instant(earlier["finished_at"]) for earlier in tries]
    return begin, max((max(ends, default=begin) - begin).total_seconds(), 0.1) * 1.01
