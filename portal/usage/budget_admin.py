"""Budgets for operators, who alone can raise them. What changes one goes through the service."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest

from portal.accounts.models import User
from portal.core.admin import LookOnly
from portal.core.errors import Invalid
from portal.usage import ledger, money
from portal.usage.budgets import budget_update
from portal.usage.models import Budget, Reservation


class AmountField(forms.CharField):
    """Dollars; empty is what the settings say."""

    def prepare_value(self, value: Any) -> Any:
        return money.written(value) if isinstance(value, int) else value

    def clean(self, value: Any) -> Any:
        text = (value or "").strip()
        try:
            return money.read(text, "amount") if text else None
        except Invalid as error:
            raise forms.ValidationError(error.fields["amount"]) from error


class BudgetAdminForm(forms.ModelForm[Budget]):
    soft = AmountField(required=False, label="Soft, in dollars", help_text="Empty: what the settings say.")
    hard = AmountField(required=False, label="Hard, in dollars", help_text="Empty: what the settings say.")

    class Meta:
        model = Budget
        fields = ("owner", "soft", "hard")


@admin.register(Budget)
class BudgetAdmin(admin.ModelAdmin[Budget]):
    form = BudgetAdminForm
    list_display = ("owner", "month", "spent_shown", "reserved_shown", "soft_shown", "hard_shown", "reached_at")
    list_filter = ("month", "reached_at")
    search_fields = ("owner__email", "owner__name", "id")
    list_select_related = ("owner",)
    readonly_fields = ("month", "spent_shown", "reserved_shown", "held_shown", "looked_at", "reached_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Budget | None = None) -> Any:
        return (*self.readonly_fields, "owner") if obj else ()

    def get_fields(self, request: HttpRequest, obj: Budget | None = None) -> Any:
        return ("owner", "soft", "hard", *(self.readonly_fields if obj else ()))

    def has_delete_permission(self, request: HttpRequest, obj: Budget | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Budget, form: Any, change: bool) -> None:
        try:
            amounts = {name: form.cleaned_data[name] for name in ("soft", "hard")}
            made = budget_update(user=obj.owner, by=cast(User, request.user), **amounts)
        except Invalid as error:
            self.message_user(request, f"{error.message} {' '.join(error.fields.values())}", messages.ERROR)
            made = Budget.objects.filter(owner=obj.owner).first() or obj
        obj.pk = made.pk

    @admin.display(description="spent")
    def spent_shown(self, budget: Budget) -> str:
        """Dollars."""
        return money.shown(budget.spent)

    @admin.display(description="set aside for runs")
    def reserved_shown(self, budget: Budget) -> str:
        """Dollars."""
        return money.shown(budget.reserved)

    @admin.display(description="set aside for data")
    def held_shown(self, budget: Budget) -> str:
        """Dollars."""
        return money.shown(budget.held)

    @admin.display(description="soft")
    def soft_shown(self, budget: Budget) -> str:
        """Dollars, or nothing."""
        soft = ledger.soft_of(budget.owner, budget)
        return "" if soft is None else money.shown(soft)

    @admin.display(description="hard")
    def hard_shown(self, budget: Budget) -> str:
        """Dollars, or nothing."""
        hard = ledger.hard_of(budget.owner, budget)
        return "" if hard is None else money.shown(hard)


@admin.register(Reservation)
class ReservationAdmin(LookOnly):
    list_display = ("run", "budget", "amount", "used", "state", "created_at", "settled_at")
    list_filter = ("state",)
    search_fields = ("run__id", "budget__owner__email")
    list_select_related = ("run", "budget__owner")
