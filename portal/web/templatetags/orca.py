"""The words of our templates: icons, state chips, times, sizes, form fields."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from django import forms, template
from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from portal.jobs.models import Job, Phase
from portal.pipelines.selectors import Line
from portal.web.ansi import ansi_html
from portal.web.states import look_of
from portal.workspaces.models import Workspace

register = template.Library()


@register.simple_tag
@lru_cache(maxsize=1_000)
def icon(name: str, label: str = "", css: str = "") -> SafeString:
    """An icon of ``vendor/bootstrap-icons/icons.svg``; hidden from screen readers unless it has a label."""
    address = f"{static('vendor/bootstrap-icons/icons.svg')}#{name}"
    role = format_html('role="img" aria-label="{}"', label) if label else mark_safe('aria-hidden="true"')
    return format_html('<svg class="icon {}" {}><use href="{}"></use></svg>', css, role, address)


@register.simple_tag
def chip(kind: str, state: str, label: str = "") -> SafeString:
    """A state as shape, word and colour."""
    look = look_of(kind, state)
    shape = icon(look.icon, css="icon-turns" if look.moves else "")
    return format_html('<span class="chip chip-{}">{}<span>{}</span></span>', look.tone, shape, label or look.label)


@register.simple_tag
def workspace_chip(workspace: Workspace) -> SafeString:
    """A workspace's state; a plan that waits for its owner's yes goes first."""
    run = workspace.active_run
    if run is not None and run.state == run.State.PLANNED:
        return chip("terraform", run.state)
    return chip("workspace", workspace.state)


@register.simple_tag
def job_chip(job: Job) -> SafeString:
    """A job's state: what is being done for it, and once it has ended how its shards fared together."""
    if job.phase != Phase.ENDED:
        return chip("phase", job.phase, "Being cancelled" if job.run.cancel_requested_at else "")
    return chip("run", job.state)


@register.simple_tag
def state_icon(kind: str, state: str) -> SafeString:
    """The shape alone, for narrow places; the word is its label."""
    look = look_of(kind, state)
    moves = " icon-turns" if look.moves else ""
    return icon(look.icon, look.label, f"tone-{look.tone}{moves}")


@register.simple_tag
def ago(at: datetime | None, missing: str = "never") -> SafeString:
    """``3 minutes ago``, kept up to date by the page, the exact time in its title."""
    if at is None:
        return format_html('<span class="muted">{}</span>', missing)
    exact = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    text = relative(timezone.now() - at)
    return format_html('<time datetime="{}" title="{}" data-ago>{}</time>', at.isoformat(), exact, text)


def relative(gone: timedelta) -> str:
    """``just now``, ``5 minutes ago``, ``in 2 hours``. The page's ``words.js`` says the same."""
    seconds = int(gone.total_seconds())
    future, seconds = seconds < 0, abs(seconds)
    if seconds < 10:
        return "just now"
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        if seconds >= length:
            count = seconds // length
            words = f"{count} {unit}{'' if count == 1 else 's'}"
            return f"in {words}" if future else f"{words} ago"
    return "just now"


@register.simple_tag
def duration(seconds: float | None, since: datetime | None = None, missing: str = "–") -> SafeString:
    """``1 min 5 s``; with ``since`` it goes on counting in the page."""
    if seconds is None:
        return format_html('<span class="muted">{}</span>', missing)
    text = spoken(seconds)
    if since is None:
        return format_html('<span class="number">{}</span>', text)
    return format_html('<span class="number" data-since="{}">{}</span>', since.isoformat(), text)


@register.simple_tag
def log_rows(lines: Iterable[Line]) -> SafeString:
    """The lines of a log, each a link's target; in one go, since a page may have thousands of them."""
    html = "".join(
        f'<div class="log-line" id="L{line.number}" data-stream="{escape(line.stream)}">'
        f'<span class="log-number">{line.number}</span><span class="log-at" data-at="{line.at:.3f}"></span>'
        f'<span class="log-text">{ansi_html(line.text)}</span></div>'
        for line in lines
    )
    return mark_safe(html)  # noqa: S308 (what is not ours is escaped)


@register.filter
def spoken(seconds: float | None) -> str:
    """Seconds as people say them: ``40 ms``, ``0.4 s``, ``12 s``, ``3 min 4 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds * 1000:.0f} ms" if 0 < seconds < 0.0995 else f"{max(seconds, 0):.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600} h"


@register.filter
def clock(at: datetime, zone: str = "") -> str:
    """``Sun 29 Mar 2026, 03:00 +02:00``, on the clocks of ``zone`` if that is given; seconds where there are any."""
    shown = at.astimezone(ZoneInfo(zone)) if zone else at
    seconds = f":{shown:%S}" if shown.second else ""
    offset = shown.isoformat()[-6:]
    return f"{shown:%a %-d %b %Y, %H:%M}{seconds} {'' if offset == '+00:00' else offset}".strip()


@register.filter
def size(count: float | None) -> str:
    """Bytes as people read them, in powers of 1,000."""
    if count is None:
        return "–"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1_000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1_000
    return f"{value:.1f} TB"


@register.filter
def figure(count: float | None) -> str:
    """A number with as many digits as say something: ``0.42``, ``7.3``, ``1,240``."""
    if count is None:
        return "–"
    return f"{count:,.0f}" if count >= 20 else f"{count:.1f}" if count >= 1 else f"{count:.2g}"


@register.filter
def megabytes(count: float | None) -> str:
    """The same for a count of megabytes."""
    return "–" if count is None else size(count * 1_000_000)


@register.simple_tag
def copy(text: str, label: str = "Copy") -> SafeString:
    """A button that puts ``text`` on the clipboard."""
    return format_html(
        '<button type="button" class="btn btn-quiet btn-copy" data-copy="{}" title="{}">{}'
        '<span class="visually-hidden">{}</span></button>',
        text,
        label,
        icon("clipboard"),
        label,
    )


@register.simple_tag(takes_context=True)
def here(context: dict[str, Any], *prefixes: str) -> SafeString:
    """Marks the navigation's entry for the page that is open; ``part_of`` is the entry of one that lies elsewhere."""
    request = context.get("request")
    path = context.get("part_of") or (request.path if isinstance(request, HttpRequest) else "")
    found = any(path == prefix or (prefix != "/" and path.startswith(prefix)) for prefix in prefixes)
    return mark_safe('aria-current="page"') if found else mark_safe("")


@register.simple_tag(takes_context=True)
def query(context: dict[str, Any], **changes: object) -> str:
    """The page's query string with some of it changed; an empty value takes a key away."""
    values = context["request"].GET.copy()
    for key, value in changes.items():
        if value in ("", None):
            values.pop(key, None)
        else:
            values[key] = str(value)
    text = values.urlencode()
    return f"?{text}" if text else "?"


@register.inclusion_tag("web/parts/field.html")
def field(bound: forms.BoundField) -> dict[str, Any]:
    """A form field with its label, help and errors, in our clothes."""
    widget = bound.field.widget
    kind = "text"
    if isinstance(widget, forms.CheckboxInput):
        kind, css = "check", "form-check-input"
    elif isinstance(widget, forms.RadioSelect):
        kind, css = "radio", "form-check-input"
    elif isinstance(widget, forms.Select):
        css = "form-select"
    else:
        css = "form-control"
    if bound.errors:
        css += " is-invalid"
    classes = f"{widget.attrs.get('class', '')} {css}".strip()
    rendered = bound.as_widget(attrs={"class": classes, "placeholder": widget.attrs.get("placeholder", "")})
    optional = not bound.field.required and not isinstance(widget, forms.Select | forms.NumberInput)
    return {"field": bound, "widget": rendered, "kind": kind, "optional": optional, "hidden": bound.is_hidden}


@register.simple_tag
def setting(name: str) -> Any:
    """A setting that pages may show."""
    allowed = {"UPLOAD_LIMIT_MB", "SIGNUP_APPROVAL", "SSH_PORT", "MAX_WORKSPACES", "DEBUG"}
    if name not in allowed:
        raise template.TemplateSyntaxError(f"{name} is not for pages")
    return getattr(settings, name)


@register.filter
def before_colon(text: object) -> str:
    """``Small`` of ``Small: 2 vCPU, 2 GB``."""
    return str(text).partition(":")[0].strip()


@register.filter
def after_colon(text: object) -> str:
    """``2 vCPU, 2 GB`` of ``Small: 2 vCPU, 2 GB``."""
    return str(text).partition(":")[2].strip()


@register.filter
def shell(words: list[str]) -> str:
    """Arguments as one types them on a command line."""
    return shlex.join(words)


@register.filter
def assignments(environment: dict[str, str]) -> str:
    """Variables, one ``NAME=value`` a line."""
    return "\n".join(f"{name}={value}" for name, value in environment.items())


@register.filter
def pretty_json(value: object) -> str:
    """A value as JSON that people can read."""
    return json.dumps(value, indent=2, ensure_ascii=False)
