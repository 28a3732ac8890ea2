"""What every page shares: errors told in words, and a Content-Security-Policy without inline scripts."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme

from portal.core.errors import OrcaError
from portal.web.htmx import toast


class OrcaErrorMiddleware:
    """Turns an OrcaError that a page raised into something a person can read.

    A request of htmx gets a toast, a form that was sent gets its page back with the message on it, everything
    else an error page; each with the status that fits.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Django calls it for what a view let through."""
        if not isinstance(error, OrcaError):
            return None
        if request.headers.get("HX-Request") == "true":
            return toast(HttpResponse(status=error.status), error.message, error.hint, level="error")
        back = _page_before(request)
        if request.method == "POST" and back and error.status not in (404, 429):
            messages.error(request, f"{error.message} {error.hint}".strip())
            return HttpResponseRedirect(back)
        return render(request, "web/error.html", {"error": error}, status=error.status)


def _page_before(request: HttpRequest) -> str:
    """The page of ours that a form was sent from, or an empty string."""
    came_from = request.headers.get("Referer", "")
    ours = url_has_allowed_host_and_scheme(came_from, {request.get_host()}, require_https=request.is_secure())
    if not ours:
        return ""
    parts = urlsplit(came_from)
    return parts.path + (f"?{parts.query}" if parts.query else "")


class ContentSecurityPolicyMiddleware:
    """Sends the policy: everything from ourselves, no inline script or style, images also from the bucket."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.policy = policy()
        # The page that shows the API writes its styles inline.
        self.loose_policy = policy(style="'self' 'unsafe-inline'")

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._with_policy(request, self.get_response(request))

    def _with_policy(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        chosen = self.loose_policy if request.path.startswith("/api/docs") else self.policy
        response.headers.setdefault("Content-Security-Policy", chosen)
        response.headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
        return response


def policy(*, style: str = "'self'") -> str:
    """The header's value (https://www.w3.org/TR/CSP3/)."""
    images = " ".join(["'self'", "data:", *_bucket_sources()])
    rules = {
        "default-src": "'self'",
        "script-src": "'self'",
        "style-src": style,
        "img-src": images,
        "connect-src": "'self'",
        "font-src": "'self'",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _bucket_sources() -> list[str]:
    """Where presigned addresses of outputs point to."""
    if settings.PUBLIC_AWS_ENDPOINT_URL:
        parts = urlsplit(settings.PUBLIC_AWS_ENDPOINT_URL)
        return [f"{parts.scheme}://{parts.netloc}"]
    return [f"https://*.s3.{settings.AWS_REGION}.amazonaws.com", "https://*.s3.amazonaws.com"]
