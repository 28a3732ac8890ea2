"""What a person has used in a month, and what it costs."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from portal.accounts.current import current_user
from portal.core.errors import NotFound
from portal.usage import selectors
from portal.usage.api import csv_answer, pdf_answer
from portal.web.usage_pictures import days_svg


@login_required
@require_GET
def usage(request: HttpRequest, month: str = "") -> HttpResponse:
    """The statement of a month; of this one, unless another is asked for."""
    owner = current_user(request)
    name = month or f"{selectors.this_month():%Y-%m}"
    statement = selectors.statement_get(owner=owner, month=name)
    shown = {
        "statement": statement,
        "months": selectors.months_of(owner),
        "chart": days_svg(statement),
        "current": statement.month == selectors.this_month(),
    }
    return render(request, "web/usage/statement.html", shown)


@login_required
@require_GET
def usage_csv(request: HttpRequest, month: str) -> HttpResponse:
    """The statement as a table."""
    return csv_answer(request, month)


@login_required
@require_GET
def usage_pdf(request: HttpRequest, month: str) -> HttpResponse:
    """The statement as a document."""
    return pdf_answer(request, month)


@require_GET
def costs(request: HttpRequest) -> HttpResponse:
    """The operator's page: what each person and each script costs."""
    if not current_user(request).has_perm("usage.view_usagerecord"):
        raise PermissionDenied
    try:
        month = selectors.month_named(request.GET.get("month", ""))
    except NotFound:
        month = selectors.this_month()
    users = selectors.costs_of_users(month)
    shown = {
        "title": f"What things cost in {month:%B %Y}",
        "month": month,
        "months": selectors.months_used(),
        "tables": [("People", users), ("Scripts", selectors.costs_of_scripts(month))],
        "total": sum(share.nano for share in users),
    }
    return render(request, "admin/costs.html", {**admin.site.each_context(request), **shown})
