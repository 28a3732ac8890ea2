"""A person's own budget, for programs."""

from __future__ import annotations

from typing import Any

from django.urls import URLPattern, path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.accounts.current import current_user
from portal.accounts.models import User
from portal.core.requests import given
from portal.usage import budgets, ledger, money


class BudgetOut(serializers.Serializer[Any]):
    """Amounts are dollars as text, ``12.50``; null is none."""

    month = serializers.DateField(help_text="The first day of the month that is counted (UTC).")
    soft = serializers.CharField(allow_null=True, help_text="From here on there are warnings.")
    hard = serializers.CharField(allow_null=True, help_text="More is never spent.")
    spent = serializers.CharField(help_text="What was used this month.")
    reserved = serializers.CharField(help_text="Set aside for what runs.")
    held = serializers.CharField(help_text="Set aside for disks and data until the month ends.")
    left = serializers.CharField(allow_null=True, help_text="What new runs may cost.")
    soft_reached = serializers.BooleanField(help_text="Whether the warning holds.")
    reached = serializers.BooleanField(help_text="Whether nothing more may be spent.")
    trial = serializers.BooleanField(help_text="Whether it is that of a trial account.")


class BudgetChange(serializers.Serializer[Any]):
    soft = serializers.CharField(
        required=False, allow_null=True, max_length=30, help_text="Dollars; null is what the settings say."
    )
    hard = serializers.CharField(
        required=False, max_length=30, help_text="Dollars; not more than it is. Operators raise it."
    )


def shown(user: User) -> dict[str, Any]:
    """Somebody's budget as the API says it."""
    standing = ledger.standing_of(user)
    amounts = ("soft", "hard", "spent", "reserved", "held", "left")
    return {
        "month": standing.month,
        **{name: money.written(getattr(standing, name)) for name in amounts},
        "soft_reached": standing.is_soft_reached,
        "reached": standing.is_reached,
        "trial": user.trial,
    }


class BudgetView(APIView):
    """One's own budget of the month."""

    @extend_schema(operation_id="budget", responses=BudgetOut, tags=["usage"])
    def get(self, request: Request) -> Response:
        """How it stands."""
        return Response(BudgetOut(shown(current_user(request))).data)

    @extend_schema(operation_id="budget_update", request=BudgetChange, responses=BudgetOut, tags=["usage"])
    def patch(self, request: Request) -> Response:
        """Change the soft amount, or lower the hard one."""
        user, asked = current_user(request), given(BudgetChange, request)
        amounts = {name: None if text is None else money.read(text, name) for name, text in asked.items()}
        budgets.budget_update(user=user, by=user, **amounts)
        return Response(BudgetOut(shown(user)).data)


urlpatterns: list[URLPattern] = [path("budget/", BudgetView.as_view(), name="api_budget")]
