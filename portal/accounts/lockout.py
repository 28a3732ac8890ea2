"""What django-axes has to be told: whose password is being tried, and how to refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from axes.helpers import get_cool_off
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

_NAMES = ("username", "email", "login")


def username_of(request: HttpRequest | None, credentials: Mapping[str, Any] | None = None) -> str | None:
    """The lower-case address that is being tried, from the credentials or from the form, or None.

    Axes knows nothing of allauth's field names, so without this it would record nobody.
    """
    for given in (credentials or {}, request.POST if request is not None else {}):
        for name in _NAMES:
            value = given.get(name)
            if isinstance(value, str) and value:
                return value.strip().lower()[:255]
    return None


def locked_out(request: HttpRequest, *_: object) -> HttpResponse:
    """429 after too many wrong passwords: a page for people, a problem for programs."""
    cool_off = get_cool_off(request)
    seconds = int(cool_off.total_seconds()) if cool_off else 0
    minutes = max(1, round(seconds / 60))
    message = f"Too many wrong passwords. Try again in {minutes} minute{'s' if minutes > 1 else ''}."
    response: HttpResponse
    if request.path.startswith("/api/"):
        body = {"code": "locked_out", "message": message, "hint": "Or reset your password.", "fields": {}}
        response = JsonResponse(body, status=429)
    else:
        response = render(request, "account/locked_out.html", {"message": message}, status=429)
    response.headers["Retry-After"] = str(seconds)
    return response
