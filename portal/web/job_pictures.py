"""The pictures of a job: one bar for all of its shards, and a grid in which a square is a shard, or some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from portal.web.states import RUN

_SIDE, _GAP = 12, 3
# How many pixels a square and its gap are wide where there is room.
_WIDE = 19
# In the order in which they stand in the bar: what is done, what is going on, what is to come.
ORDER = (
    *("succeeded", "failed", "timed_out", "lost", "cancelled", "skipped"),
    *("running", "queued", "waiting"),
)


@dataclass(frozen=True)
class Part:
    """How many shards are in a state, and how that looks."""

    state: str
    count: int
    label: str
    tone: str
    icon: str
    moves: bool


def parts_of(states: Mapping[str, int]) -> list[Part]:
    """The states that there are, in the order of the bar."""
    looks = [(state, RUN[state]) for state in ORDER if states.get(state)]
    return [Part(state, states[state], look.label, look.tone, look.icon, look.moves) for state, look in looks]


def bar_svg(parts: Sequence[Part], total: int) -> SafeString:
    """One bar, a stretch a state; what is in no part stays empty."""
    drawn, x = [], 0.0
    for part in parts:
        width = 100 * part.count / max(total, 1)
        if part.state not in {"queued", "waiting"}:
            title = escape(f"{part.count:,} {part.label.lower()}")
            drawn.append(
                f'<rect class="bar-{part.tone}{" bar-moves" if part.moves else ""}" x="{x:.3f}%" y="0" '
                f'width="{width:.3f}%" height="100%"><title>{title}</title></rect>'
            )
        x += width
    said = escape(", ".join(f"{part.count} {part.label.lower()}" for part in parts))
    return mark_safe(  # noqa: S308 (escaped)
        f'<svg class="job-bar" width="100%" height="12" role="img" aria-label="{said}">{"".join(drawn)}</svg>'
    )


def histogram_svg(counted: Sequence[Mapping[str, Any]]) -> SafeString:
    """How many items are of which ``time``, as bars side by side; nothing where there is but one time."""
    if len(counted) < 2:
        return SafeString()
    most = max(int(row["count"]) for row in counted)
    wide = 100 / len(counted)
    bars = []
    for index, row in enumerate(counted):
        high = max(100 * int(row["count"]) / most, 2) if row["count"] else 0
        said = escape(f"{row['time']}: {row['count']:,}")
        bars.append(
            f'<rect class="job-bin" x="{index * wide:.3f}%" width="{wide * 0.86:.3f}%" y="{100 - high:.1f}%" '
            f'height="{high:.1f}%"><title>{said}</title></rect>'
        )
    return mark_safe(  # noqa: S308 (escaped)
        f'<svg class="job-bins" width="100%" height="44" role="img" aria-label="Items along the time">'
        f"{''.join(bars)}</svg>"
    )


@dataclass(frozen=True)
class Cell:
    """Shards ``first`` to ``last``, and how many of them are in which state."""

    first: int
    last: int
    states: Mapping[str, int]


def grid_svg(cells: Sequence[Cell], address: str) -> SafeString:
    """A square a cell; ``address`` leads to the list of shards, from the first one of a cell on."""
    columns = _columns(len(cells))
    rows = -(-len(cells) // columns)
    width, height = columns * (_SIDE + _GAP) - _GAP, max(rows * (_SIDE + _GAP) - _GAP, _SIDE)
    drawn = [_square(cell, index, columns, address) for index, cell in enumerate(cells)]
    return mark_safe(  # noqa: S308 (escaped)
        f'<svg class="job-grid" viewBox="0 0 {width} {height}" width="{columns * _WIDE}" role="img" '
        f'aria-label="The shards in their order; the list below says the same">{"".join(drawn)}</svg>'
    )


def _columns(cells: int) -> int:
    """Few squares are large also on a phone."""
    return max(cells, 1) if cells <= 25 else 25 if cells <= 100 else 50


def _square(cell: Cell, index: int, columns: int, address: str) -> str:
    x, y = index % columns * (_SIDE + _GAP), index // columns * (_SIDE + _GAP)
    said = ", ".join(f"{cell.states[state]} {RUN[state].label.lower()}" for state in ORDER if state in cell.states)
    if cell.first == cell.last:
        said = f"Shard {cell.first}: {', '.join(RUN[state].label for state in cell.states)}"
    else:
        said = f"Shards {cell.first} to {cell.last}: {said}"
    return (
        f'<a href="{escape(address)}?from={cell.first}#shards" tabindex="-1"><rect class="cell cell-{_tone(cell)}" '
        f'x="{x}" y="{y}" width="{_SIDE}" height="{_SIDE}" rx="2.5"><title>{escape(said)}</title></rect></a>'
    )


def _tone(cell: Cell) -> str:
    """What one wants to know first: what went wrong, what is going on, how much is done."""
    states = set(cell.states)
    if states & {"failed", "timed_out", "lost"}:
        return "bad"
    if "running" in states:
        return "busy"
    if states == {"succeeded"}:
        return "good"
    if "succeeded" in states:
        return "part"
    return "off" if states <= {"cancelled", "skipped"} else "wait"
