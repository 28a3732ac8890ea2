"""The operator's page after an incident: what needs attention, and the button that mends it."""

from __future__ import annotations

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from portal.accounts.current import current_user
from portal.accounts.models import User
from portal.core.errors import NotFound, OrcaError
from portal.pipelines.attention import Concern, concern_mend, concerns


@require_http_methods(["GET", "POST"])
def attention(request: HttpRequest) -> HttpResponse:
    """Lists the concerns; a POST with ``kind`` and ``id`` presses a button."""
    user = current_user(request)
    found = [concern for concern in concerns() if _may(user, "view", concern)]
    mendable = {concern for concern in found if _may(user, "change", concern)}
    if request.method == "POST":
        kind, concern_id = request.POST.get("kind", ""), request.POST.get("id", "")
        try:
            if (kind, concern_id) not in {(concern.kind, str(concern.id)) for concern in mendable}:
                raise NotFound("There is no such concern.", hint="It may have been mended meanwhile.")
            concern_mend(kind=kind, concern_id=concern_id, by=user)
            messages.success(request, "Done. What is mended leaves this page by itself.")
        except OrcaError as error:
            messages.error(request, f"{error.message} {error.hint}".strip())
        return redirect("admin_attention")
    context = {**admin.site.each_context(request), "title": "What needs attention", "concerns": found}
    return render(request, "admin/attention.html", context | {"mendable": mendable})


def _may(user: User, what: str, concern: Concern) -> bool:
    app, _, model = concern.model.partition("_")
    return user.has_perm(f"{app}.{what}_{model}")
