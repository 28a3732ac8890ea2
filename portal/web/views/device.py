"""The page on which a person lets a program in that showed them a code."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from portal.accounts.current import current_user
from portal.accounts.devices import device_login_decide, device_login_find
from portal.core.errors import LimitReached, NotFound
from portal.web.forms import DeviceForm, tell


@login_required
@require_http_methods(["GET", "POST"])
def device(request: HttpRequest) -> HttpResponse:
    """Asks for the code, shows who asks with it, and takes the answer: ``decision`` is ``allow`` or ``deny``."""
    given = request.POST if request.method == "POST" else request.GET
    if not given.get("code"):
        return _page(request, form=DeviceForm())
    form = DeviceForm(given)
    if not form.is_valid():
        return _page(request, form=form, status=422)
    by = current_user(request)
    try:
        login = device_login_find(by=by, code=form.cleaned_data["code"])
        if request.method == "GET" or "decision" not in request.POST:
            return _page(request, form=form, login=login)
        device_login_decide(login=login, by=by, allow=request.POST["decision"] == "allow")
    except (NotFound, LimitReached) as error:
        tell(form, error)
        return _page(request, form=form, status=error.status)
    return _page(request, form=form, decided=login)


def _page(request: HttpRequest, *, status: int = 200, **shown: object) -> HttpResponse:
    response = render(request, "web/account/device.html", shown, status=status)
    response.headers["Cache-Control"] = "no-store"
    return response
