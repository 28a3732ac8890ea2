"""Money on pages."""

from __future__ import annotations

from typing import Any

from django import template

from portal.accounts.models import User
from portal.usage import ledger, money

register = template.Library()


@register.filter
def dollars(nano: int | None) -> str:
    """``$1.50`` of nano-dollars; a dash where there is no amount."""
    return "–" if nano is None else money.shown(nano)


@register.inclusion_tag("web/usage/budget_banner.html", takes_context=True)
def budget_banner(context: template.Context) -> dict[str, Any]:
    """A word above every page when money runs out. Who has no budget costs no query."""
    user = context.get("user")
    if not isinstance(user, User) or not ledger.is_watched(user):
        return {"standing": None}
    return {"standing": ledger.standing_of(user)}
