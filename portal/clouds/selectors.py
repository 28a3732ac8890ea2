"""Questions about cloud accounts."""

from __future__ import annotations

from django.db.models import Count, Q

from portal.clouds.models import CloudAccount
from portal.core.errors import Conflict


def account_for_new_workspace() -> CloudAccount:
    """The least crowded of Orca's own accounts that takes new workspaces."""
    alive = ~Q(workspaces__state="destroyed")
    account = (
        CloudAccount.objects.filter(owner=None, enabled=True)
        .annotate(crowd=Count("workspaces", filter=alive))
        .order_by("crowd", "created_at")
        .first()
    )
    if account is None:
        raise Conflict(
            "No cloud account takes new workspaces.",
            code="no_cloud_account",
            hint="An operator runs `manage.py platform_ensure`, or enables an account in the admin.",
        )
    return account
