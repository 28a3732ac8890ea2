"""Answers to htmx: fragments of a page, and messages that float in without one."""

from __future__ import annotations

import json

from django.http import HttpResponse


def toast(response: HttpResponse, message: str, hint: str = "", *, level: str = "success") -> HttpResponse:
    """Let the page show a message when ``response`` arrives; ``level`` is success, info, warning or error."""
    said = {"message": message, "hint": hint, "level": level}
    # htmx reads the header as JSON; escaping keeps what is beyond ASCII inside it.
    response.headers["HX-Trigger"] = json.dumps({"toast": said})
    return response
