"""Prices, margins, grants, and what was used, as an operator sees them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from portal.accounts.models import User
from portal.core.admin import LookOnly
from portal.core.money import nano_of
from portal.usage import money
from portal.usage.budget_admin import AmountField
from portal.usage.models import Grant, Margin, Price, Span, UsageRecord
from portal.usage.money import NANO
from portal.usage.prices import forget_prices


class PriceForm(forms.ModelForm[Price]):
    dollars = forms.DecimalField(
        max_digits=16, decimal_places=9, min_value=Decimal(0), help_text="Of an hour, a GB-month, a GB or a request."
    )

    class Meta:
        model = Price
        fields = ("region", "kind", "size", "valid_from", "source")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.nano is not None:
            self.initial.setdefault("dollars", Decimal(self.instance.nano) / NANO)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("dollars") is not None:
            self.instance.nano = nano_of(cleaned["dollars"])
        return cleaned


@admin.register(Price)
class PriceAdmin(admin.ModelAdmin[Price]):
    """A price that has held is not changed: another one takes its place from an instant on."""

    form = PriceForm
    list_display = ("region", "kind", "size", "dollars_shown", "valid_from", "source")
    list_filter = ("region", "kind")
    search_fields = ("size", "region")

    def has_change_permission(self, request: HttpRequest, obj: Price | None = None) -> bool:
        return False

    @admin.display(description="dollars")
    def dollars_shown(self, price: Price) -> str:
        """Of one unit."""
        return money.written(price.nano) or ""

    def save_model(self, request: HttpRequest, obj: Price, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        forget_prices()


@admin.register(Margin)
class MarginAdmin(admin.ModelAdmin[Margin]):
    list_display = ("percent", "region", "kind", "valid_from")
    list_filter = ("region", "kind")

    def has_change_permission(self, request: HttpRequest, obj: Margin | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Margin, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        forget_prices()


class GrantForm(forms.ModelForm[Grant]):
    amount = AmountField(required=False, label="Amount, in dollars", help_text="Of a credit.")

    class Meta:
        model = Grant
        fields = ("owner", "kind", "of", "quantity", "percent", "amount", "valid_from", "valid_to", "note")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        cleaned["amount"] = cleaned.get("amount") or 0
        kind = cleaned.get("kind")
        if kind == Grant.Kind.CREDIT and not (cleaned["amount"] and cleaned.get("owner")):
            raise forms.ValidationError("A credit is of an amount, for somebody.")
        if kind == Grant.Kind.FREE_TIER and not (cleaned.get("of") and cleaned.get("quantity")):
            raise forms.ValidationError("A free tier is of a quantity, of one kind.")
        if kind == Grant.Kind.DISCOUNT and not cleaned.get("percent"):
            raise forms.ValidationError("A discount is of some percent.")
        return cleaned


@admin.register(Grant)
class GrantAdmin(admin.ModelAdmin[Grant]):
    form = GrantForm
    list_display = ("owner", "kind", "of", "quantity", "percent", "amount_shown", "valid_from", "valid_to", "note")
    list_filter = ("kind", "of", "trial")
    search_fields = ("owner__email", "note", "id")
    list_select_related = ("owner",)

    @admin.display(description="amount")
    def amount_shown(self, grant: Grant) -> str:
        """Dollars."""
        return money.shown(grant.amount) if grant.amount else ""

    def save_model(self, request: HttpRequest, obj: Grant, form: Any, change: bool) -> None:
        if not change:
            obj.given_by = cast(User, request.user)
        super().save_model(request, obj, form, change)


@admin.register(Span)
class SpanAdmin(LookOnly):
    list_display = ("instance_id", "kind", "size", "owner", "began_at", "ready_at", "ended_at", "settled")
    list_filter = ("kind", "settled", "region")
    search_fields = ("instance_id", "owner__email")
    list_select_related = ("owner",)


@admin.register(UsageRecord)
class UsageRecordAdmin(LookOnly):
    list_display = ("day", "owner", "kind", "quantity", "unit", "dollars_shown", "workspace", "instance_id")
    list_filter = ("kind",)
    search_fields = ("key", "owner__email", "instance_id", "run__id")
    list_select_related = ("owner", "workspace")
    show_full_result_count = False  # there are many

    @admin.display(description="dollars")
    def dollars_shown(self, record: UsageRecord) -> str:
        """What it costs."""
        return money.shown(record.nano)
