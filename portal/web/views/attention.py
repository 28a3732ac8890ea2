"""The operator's page after an incident: what needs attention, and the button that mends it."""

from __future__ import annotations

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from portal.accounts.current import current_user
from portal.core.errors import OrcaError
from portal.pipelines.attention import concern_mend, concerns


@require_http_methods(["GET", "POST"])
def attention(request: HttpRequest) -> HttpResponse:
    """Lists the concerns; a POST with ``kind`` and ``id`` presses a button."""
    if request.method == "POST":
        kind, concern_id = request.POST.get("kind", ""), request.POST.get("id", "")
        try:
            concern_mend(kind=kind, concern_id=concern_id, by=current_user(request))
            messages.success(request, "Done. What is mended leaves this page by itself.")
        except OrcaError as error:
            messages.error(request, f"{error.message} {error.hint}".strip())
        return redirect("admin_attention")
    context = {**admin.site.each_context(request), "title": "What needs attention", "concerns": concerns()}
    return render(request, "admin/attention.html", context)
