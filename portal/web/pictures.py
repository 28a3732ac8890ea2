"""Pictures as SVG: steps with arrows, and bars along a time. Sizes are attributes, colours classes: no inline styles.

A bar's place is a percentage of its field, so that a picture is as wide as its page lets it be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from portal.web.graph import Layout
from portal.web.states import Look
from portal.web.templatetags.orca import icon

# With more steps than this each is drawn smaller, and its state is a shape without a word.
DENSE = 40
# The times between two marks of an axis, in seconds.
_STEPS = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60 * count for count in (1, 2, 5, 10, 15, 30)),
    *(3_600 * count for count in (1, 2, 3, 6, 12)),
    *(86_400 * count for count in (1, 2, 7, 14, 28)),
)
_BAR_HEIGHT, _BAR_GAP = 14, 3
# Room for the arrows between layers that lie side by side.
_BETWEEN = 44


@dataclass(frozen=True)
class Node:
    """A step in the picture: ``ident`` is its element's id (none where it does not change), ``href`` where it leads."""

    name: str
    look: Look
    word: str
    ident: str = ""
    href: str = ""
    chosen: bool = False


@dataclass(frozen=True)
class _Measures:
    width: int
    height: int
    across: int
    along: int
    letters: int


_ROOMY = _Measures(width=144, height=44, across=156, along=76, letters=15)
_TIGHT = _Measures(width=132, height=26, across=142, along=46, letters=14)


def _measures(*, dense: bool) -> _Measures:
    return _TIGHT if dense else _ROOMY


def dag_width(found: Layout) -> float:
    """How wide the picture is, in pixels."""
    size = _measures(dense=len(found.spots) > DENSE)
    return found.width * size.across if found.downwards else found.depth * (size.width + _BETWEEN)


def dag_svg(found: Layout, nodes: Mapping[str, Node]) -> SafeString:
    """The picture of all steps; ``nodes`` by their names."""
    dense = len(found.spots) > DENSE
    size = _measures(dense=dense)
    down = found.downwards
    # What separates two layers, and what two steps of one layer.
    layer = size.along if down else size.width + _BETWEEN
    beside = size.across if down else size.height + 12
    margin = 6
    wide, deep = found.width * beside, (found.depth - 1) * layer + (size.height if down else size.width)
    total = (wide, deep) if down else (deep, wide)

    def place(across: float, depth: int) -> tuple[float, float]:
        """The middle of a step, in pixels."""
        at = depth * layer + (size.height if down else size.width) / 2
        return (margin + across * beside, margin + at) if down else (margin + at, margin + across * beside)

    half = (size.height if down else size.width) / 2
    parts = [_arrow(arrow.points, place, half, down=down) for arrow in found.arrows]
    for spot in found.spots:
        x, y = place(spot.across, spot.layer)
        parts.append(_node(nodes[spot.name], x - size.width / 2, y - size.height / 2, dense=dense))
    head = format_html(
        '<svg class="dag{}" viewBox="0 0 {} {}" width="{}" height="{}" role="group" aria-label="{} step{}">',
        " dag-dense" if dense else "",
        *(f"{side + 2 * margin:.0f}" for side in (*total, *total)),
        len(found.spots),
        "" if len(found.spots) == 1 else "s",
    )
    tip = (
        '<defs><marker id="arrow-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path class="arrow-tip" d="M0 0.5L8 4L0 7.5z"/></marker></defs>'
    )
    return mark_safe(f"{head}{tip}{''.join(parts)}</svg>")  # noqa: S308 (its parts are escaped)


def _arrow(
    points: Sequence[tuple[float, int]],
    place: Callable[[float, int], tuple[float, float]],
    half: float,
    *,
    down: bool,
) -> str:
    """A line that leaves a step's far side, goes straight past the layers between, and ends at the next one's side."""
    spots = [place(*point) for point in points]

    def side(spot: tuple[float, float], sign: int) -> tuple[float, float]:
        return (spot[0], spot[1] + sign * half) if down else (spot[0] + sign * half, spot[1])

    x, y = side(spots[0], 1)
    path = [f"M{x:.1f} {y:.1f}"]
    for index, spot in enumerate(spots[1:], 1):
        to_x, to_y = side(spot, -1)
        if down:
            middle = (y + to_y) / 2
            path.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
        else:
            middle = (x + to_x) / 2
            path.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
        if index < len(spots) - 1:
            x, y = side(spot, 1)
            path.append(f"L{x:.1f} {y:.1f}")
    return f'<path class="arrow" d="{"".join(path)}" marker-end="url(#arrow-tip)"/>'


def _node(node: Node, x: float, y: float, *, dense: bool) -> str:
    where = f'transform="translate({x:.1f} {y:.1f})"'
    ident = f' id="{escape(node.ident)}"' if node.ident else ""
    inside = node_inside(node, dense=dense)
    if not node.href:
        return f'<g class="node"{ident} {where}>{inside}</g>'
    current = ' aria-current="true"' if node.chosen else ""
    return f'<a class="node"{ident} href="{escape(node.href)}" {where}{current}>{inside}</a>'


def node_inside(node: Node, *, dense: bool) -> str:
    """What a step's element holds, and what changes when its state does."""
    size = _measures(dense=dense)
    name = escape(_short(node.name, size.letters))
    title = f"{node.name}: {node.word}" if node.word else node.name
    box = f'<rect class="node-box" width="{size.width}" height="{size.height}" rx="8"/>'
    text, words = 10, ""
    if node.word:
        side = 12 if dense else 18
        text = side + 13
        shape = icon(node.look.icon, css="node-shape")
        at = f'x="8" y="{(size.height - side) / 2:.0f}" width="{side}" height="{side}"'
        words = str(shape).replace("<svg ", f"<svg {at} ", 1)
        if not dense:
            words += f'<text class="node-word" x="{text}" y="34">{escape(node.word)}</text>'
    middle = size.height / 2 + 4 if dense or not node.word else 18
    return (
        f'<title>{escape(title)}</title><g class="node-in node-{node.look.tone}">{box}{words}'
        f'<text class="node-name" x="{text}" y="{middle:.0f}">{name}</text></g>'
    )


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


@dataclass(frozen=True)
class Bar:
    """From ``begin`` to ``end``, as parts (0 to 1) of the field; ``level`` from 0 says in which row of it.

    ``kind``: ``whole``, or ``thin`` for a time of waiting. ``shape`` is an icon that is drawn where the bar begins.
    """

    begin: float
    end: float
    tone: str
    label: str
    kind: str = "whole"
    level: int = 0
    href: str = ""
    shape: str = ""


def bars_svg(bars: Iterable[Bar], *, levels: int = 1, now: float | None = None) -> SafeString:
    """Bars in their field; ``now`` is where a line marks the present."""
    height = levels * (_BAR_HEIGHT + _BAR_GAP) + _BAR_GAP
    parts = [_bar(bar) for bar in bars]
    if now is not None and 0 <= now <= 1:
        x = _percent(now)
        parts.append(f'<line class="bar-now" x1="{x}" x2="{x}" y1="0" y2="{height}"/>')
    return mark_safe(f'<svg class="bars" width="100%" height="{height}">{"".join(parts)}</svg>')  # noqa: S308 (escaped)


def _bar(bar: Bar) -> str:
    begin, end = max(bar.begin, 0.0), min(max(bar.end, bar.begin), 1.0)
    top = _BAR_GAP + bar.level * (_BAR_HEIGHT + _BAR_GAP)
    height = _BAR_HEIGHT if bar.kind == "whole" else 4
    y = top + (_BAR_HEIGHT - height) / 2
    # A run of a moment is still to be seen and to be hit.
    width = max(end - begin, 0.004)
    begin = min(begin, 1 - width)
    drawn = (
        f'<rect class="bar-{bar.kind} bar-{bar.tone}" x="{_percent(begin)}" y="{y:.0f}" width="{_percent(width)}" '
        f'height="{height}" rx="3"/>'
    )
    if bar.shape:
        at = f'x="{_percent(begin)}" y="{top + 1}" width="12" height="12"'
        drawn += str(icon(bar.shape, css=f"bar-shape bar-{bar.tone}")).replace("<svg ", f"<svg {at} ", 1)
    inside = f"<title>{escape(bar.label)}</title>{drawn}"
    return f'<a href="{escape(bar.href)}">{inside}</a>' if bar.href else f"<g>{inside}</g>"


def _percent(part: float) -> str:
    return f"{part * 100:.3f}%"


def span_rounded(seconds: float) -> float:
    """A length of time at which an axis ends well: a little more than ``seconds``, and not often another one."""
    step = _step(seconds)
    return (int(seconds / step) + 1) * step


def _step(seconds: float) -> float:
    return next((step for step in _STEPS if seconds / step <= 5), seconds / 4)


def _short_time(seconds: float) -> str:
    """``90 s`` as ``1.5 min``."""
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def axis_svg(seconds: float) -> SafeString:
    """Marks of the time that has gone since the field's beginning."""
    step = _step(seconds)
    return _axis(
        [(count * step / seconds, _short_time(count * step), "") for count in range(1, int(seconds / step) + 1)]
    )


def clock_svg(begin: datetime, seconds: float) -> SafeString:
    """Marks of the times of day, from ``begin`` on; the page writes them as its reader's clock shows them."""
    step = max(_step(seconds), 60)
    first = step - begin.timestamp() % step
    marks = []
    for count in range(int((seconds - first) / step) + 1):
        after = first + count * step
        at = datetime.fromtimestamp(begin.timestamp() + after, begin.tzinfo)
        shown = f"{at:%H:%M}" if step < 86_400 else f"{at:%a %d}"
        kind = "time" if step < 86_400 else "day"
        marks.append((after / seconds, shown, f'data-clock="{kind}" data-at="{at.timestamp():.0f}"'))
    return _axis(marks)


def _axis(marks: Sequence[tuple[float, str, str]]) -> SafeString:
    parts = []
    for part, text, more in marks:
        # The last mark's words end where the field does.
        anchor = "end" if part > 0.94 else "middle"
        x = _percent(min(part, 1.0))
        parts.append(f'<line x1="{x}" x2="{x}" y1="15" y2="20"/>')
        parts.append(f'<text x="{x}" y="11" text-anchor="{anchor}" {more}>{escape(text)}</text>')
    return mark_safe(f'<svg class="axis" width="100%" height="20" aria-hidden="true">{"".join(parts)}</svg>')  # noqa: S308
