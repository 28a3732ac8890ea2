"""One's own budget of the month."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from portal.accounts.current import current_user
from portal.accounts.quotas import quota_of
from portal.core.errors import Invalid
from portal.usage import budgets, ledger
from portal.web.budget_form import BudgetForm
from portal.web.forms import tell


@login_required
@require_http_methods(["GET", "POST"])
def budget(request: HttpRequest) -> HttpResponse:
    """How it stands, and the form that changes it."""
    user = current_user(request)
    standing = ledger.standing_of(user)
    form, status = BudgetForm(request.POST or None, standing=standing), 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                budgets.budget_update(user=user, by=user, **form.given())
            except Invalid as error:
                tell(form, error)
            else:
                messages.success(request, "Saved.")
                return redirect("budget")
    shown = {"standing": standing, "form": form, "trial": user.trial, "quota": quota_of(user)}
    return render(request, "web/usage/budget.html", shown, status=status)
