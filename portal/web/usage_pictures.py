"""The days of a month as bars, each made of what its kinds cost. Sizes are attributes, colours are classes."""

from __future__ import annotations

from datetime import timedelta

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from portal.usage import money
from portal.usage.models import Kind
from portal.usage.statements import Statement, month_after

_HEIGHT = 150
_FOOT = 18


def days_svg(statement: Statement) -> SafeString:
    """As wide as the page lets it be: places across are percentages."""
    count = (month_after(statement.month) - statement.month).days
    dearest = max((sum(_shown(kinds).values()) for kinds in statement.days.values()), default=0) or 1
    width = 100 / count
    parts = [f'<text class="use-mark" x="0" y="10">{escape(money.shown(dearest))}</text>']
    for number in range(count):
        day = statement.month + timedelta(days=number)
        kinds = _shown(statement.days.get(day, {}))
        label = f"{day:%-d %B}: {money.shown(sum(kinds.values()))}"
        left, top, drawn = number * width, float(_HEIGHT), ""
        for kind in Kind:
            if nano := kinds.get(kind, 0):
                high = max(nano / dearest * (_HEIGHT - 16), 0.6)
                top -= high
                drawn += (
                    f'<rect class="use-{kind}" x="{left + width * 0.12:.3f}%" y="{top:.1f}" '
                    f'width="{width * 0.76:.3f}%" height="{high:.1f}"/>'
                )
        drawn += f'<rect class="use-hit" x="{left:.3f}%" y="0" width="{width:.3f}%" height="{_HEIGHT}"/>'
        parts.append(f"<g><title>{escape(label)}</title>{drawn}</g>")
        if number % 7 == 0:
            parts.append(
                f'<text class="use-mark" x="{left + width / 2:.3f}%" y="{_HEIGHT + 14}" text-anchor="middle">'
                f"{number + 1}</text>"
            )
    parts.append(f'<line class="use-line" x1="0" x2="100%" y1="{_HEIGHT}" y2="{_HEIGHT}"/>')
    head = f'<svg class="use" width="100%" height="{_HEIGHT + _FOOT}" role="img" aria-label="What each day cost">'
    return mark_safe(f"{head}{''.join(parts)}</svg>")  # noqa: S308 (its parts are escaped)


def _shown(kinds: dict[str, int]) -> dict[str, int]:
    """What can be drawn: a correction below zero cannot."""
    return {kind: nano for kind, nano in kinds.items() if nano > 0}
