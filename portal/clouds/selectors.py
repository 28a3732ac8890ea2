"""Questions about cloud accounts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q, QuerySet

from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.core.errors import Conflict, NotFound

State = CloudAccount.State
# A workspace lives in its account until its data is gone too.
_ALIVE = Q(workspaces__claimed_name__isnull=False)
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::(?P<account>[0-9]{12}):role/(?:[\w+=,.@/-]+/)?[\w+=,.@-]{1,64}")


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


def accounts_of(owner: User) -> QuerySet[CloudAccount]:
    """A person's links, newest first, without those that were ended; each with the number of ``living`` workspaces."""
    return (
        CloudAccount.objects.filter(owner=owner)
        .exclude(state=State.UNLINKED)
        .annotate(living=Count("workspaces", filter=_ALIVE))
    )


def account_get(*, owner: User, account_id: str) -> CloudAccount:
    """One of a person's links, also one that was ended. Raises ``NotFound``."""
    found = CloudAccount.objects.filter(owner=owner, pk=account_id).first()
    if found is None:
        raise NotFound("There is no such cloud account.")
    return found


def account_chosen(*, owner: User, account_id: str) -> CloudAccount:
    """The link that a person wants to build in. Raises ``NotFound``, or ``Conflict`` while nothing may be built."""
    account = account_get(owner=owner, account_id=account_id)
    if not account.takes_workspaces:
        raise Conflict(
            f"Nothing new can be built in {account.name}: the account is {account.get_state_display()}.",
            code="account_not_linked",
            hint="Check it on its page; what is missing stands there.",
            fields={"cloud_account": "cannot be built in now"},
        )
    return account


def accounts_open(owner: User) -> QuerySet[CloudAccount]:
    """A person's links in which they can build now."""
    return CloudAccount.objects.filter(owner=owner, state=State.LINKED, enabled=True).order_by("created_at")


@dataclass(frozen=True)
class Living:
    """A workspace that still lives in an account: id, name and state."""

    pk: str
    name: str
    state: str


def living_in(account: CloudAccount) -> list[Living]:
    """The workspaces of which something is still in the account, if only data."""
    rows: Any = CloudAccount.objects.filter(_ALIVE, pk=account.pk).order_by("workspaces__created_at")
    return [Living(*row) for row in rows.values_list("workspaces__pk", "workspaces__name", "workspaces__state")]


def account_of_role(role_arn: str) -> str:
    """The twelve digits in a role's ARN; empty where it is not the ARN of a role."""
    found = _ROLE.fullmatch(role_arn)
    return found["account"] if found else ""


def numbers_admitted() -> set[str]:
    """Twelve digits of every linked account whose instances report to Orca's events queue."""
    linked = CloudAccount.objects.exclude(owner=None).filter(state__in=[State.LINKED, State.BROKEN])
    return set(linked.values_list("account_id", flat=True))
