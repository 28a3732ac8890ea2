"""Django's handlers for what no view answered: a page for people, a problem for programs."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFilesSent
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string

from portal.core.api import problem
from portal.core.errors import LimitReached, NotFound, OrcaError


def _told(request: HttpRequest, error: OrcaError) -> HttpResponse:
    if request.path.startswith("/api/"):
        return JsonResponse(problem(error.code, error.message, error.hint), status=error.status)
    return render(request, "web/error.html", {"error": error}, status=error.status)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404, the same for what does not exist and what belongs to someone else."""
    return _told(request, NotFound("There is nothing here.", hint="It may have been removed, or is not yours."))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403."""
    return _told(request, OrcaError("You may not do this.", code="forbidden", status=403))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400."""
    if isinstance(exception, TooManyFilesSent):
        most = settings.DATA_UPLOAD_MAX_NUMBER_FILES
        error = OrcaError(f"More than {most} files.", code="too_many_files", hint="Pack them into one zip.")
        return _told(request, error)
    if isinstance(exception, RequestDataTooBig):
        size = filesizeformat(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        error = OrcaError(f"This is more than {size}.", code="too_large", hint="Send what is large as a file.")
        return _told(request, error)
    return _told(request, OrcaError("Your browser sent something that we cannot read.", code="invalid"))


def too_many(request: HttpRequest) -> HttpResponse:
    """429, where allauth asks for it: too many sign-ups, logins or mails from one place."""
    error = LimitReached("That was too often in a short time.", hint="Wait a minute, then try again.")
    response = _told(request, error)
    response.headers["Retry-After"] = "60"
    return response


def fault(request: HttpRequest) -> HttpResponse:
    """500. Renders nothing that could fail again: no user, no database."""
    if request.path.startswith("/api/"):
        return JsonResponse(problem("fault", "Something went wrong on our side.", "Try again."), status=500)
    return HttpResponse(render_to_string("web/fault.html"), status=500)


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403: the form was open too long, or in another browser."""
    hint = "Go back, reload the page and send the form again."
    return _told(request, OrcaError("This form is no longer valid.", code="csrf_failed", hint=hint, status=403))
