"""What people do with the secrets of a workspace: add, replace, delete. Nobody reads one here; agents do, in the cloud.

The row comes before the call that stores a value and goes after the one that deletes it, so that whatever dies in
between, nothing lies in the cloud of which Orca does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from portal.accounts.models import User
from portal.clouds.services import account_handle
from portal.core.audit import audit
from portal.core.errors import Conflict, Invalid, LimitReached, NotFound
from portal.core.live import publish_on_commit
from portal.gateways import aws_secrets
from portal.workspaces.models import Secret, Workspace

MOST_SECRETS = 50
MOST_BYTES = 65_536
# Agents blot secrets out of logs, but nothing shorter than this: it would blot out everything.
LEAST_BYTES = 4
# Capitals only: MySQL would hold two names for one that differ in nothing else.
_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")
# What Orca itself sets, and what would change the programs that stand between it and a script.
_TAKEN = ("ORCA_", "AWS_", "LD_")


def secrets_of(workspace: Workspace) -> QuerySet[Secret]:
    """The names of a workspace's secrets, with when and by whom they were made and changed."""
    stored = Secret.objects.filter(workspace=workspace, changed_at__isnull=False)
    return stored.select_related("created_by", "changed_by").order_by("name")


def secret_put(*, workspace: Workspace, name: str, value: str, by: User) -> tuple[Secret, bool]:
    """Give a secret a value; whether it is new. Steps that start a minute later have it.

    Raises ``Invalid``, ``Conflict``, ``LimitReached`` or ``CloudFault``.
    """
    _check(name, value)
    with transaction.atomic():
        locked = Workspace.objects.select_for_update().get(pk=workspace.pk)
        if locked.state in {Workspace.State.DESTROYING, Workspace.State.DESTROYED}:
            raise Conflict(
                f"A workspace that is {locked.state} takes no secrets.",
                code="wrong_state",
                hint="Apply it again first.",
            )
        secret = Secret.objects.filter(workspace=workspace, name=name).first()
        if secret is None:
            if Secret.objects.filter(workspace=workspace).count() >= MOST_SECRETS:
                raise LimitReached(f"A workspace may have {MOST_SECRETS} secrets.", code="too_many_secrets")
            secret = Secret.objects.create(workspace=workspace, name=name, created_by=by)
    account, is_new = account_handle(workspace.cloud_account), secret.changed_at is None
    aws_secrets.secret_put(account, workspace.pk, name, value)
    with transaction.atomic():
        changed = {"changed_at": timezone.now(), "changed_by": by}
        kept = Secret.objects.filter(pk=secret.pk).update(**changed)
        if kept:
            audit("workspace.secret_put", workspace, by=by, name=name, new=is_new)
            publish_on_commit(f"workspace:{workspace.pk}")
    if not kept:
        aws_secrets.secret_delete(account, workspace.pk, name)
        raise Conflict(f"{name} was deleted while it was given a value.", code="deleted_meanwhile")
    secret.refresh_from_db()
    return secret, is_new


def _check(name: str, value: str) -> None:
    fields = {}
    size = len(value.encode("utf-8", "replace"))
    if not _NAME.fullmatch(name):
        fields["name"] = "Capital letters, digits and _, at most 100, and no digit first: API_KEY."
    elif name.startswith(_TAKEN):
        fields["name"] = "Names that begin with ORCA_, AWS_ or LD_ are set by Orca."
    if not LEAST_BYTES <= size <= MOST_BYTES:
        fields["value"] = f"{LEAST_BYTES} bytes to 64 KB; shorter ones could not be kept out of logs."
    elif "\0" in value or not _encodable(value):
        fields["value"] = "Only text; encode other data, as Base64 for instance."
    if fields:
        raise Invalid("The secret cannot be kept like this.", fields=fields)


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def secret_delete(*, workspace: Workspace, name: str, by: User) -> None:
    """Delete a secret, at once and for good. Raises ``NotFound`` or ``CloudFault``."""
    secret = Secret.objects.filter(workspace=workspace, name=name).first()
    if secret is None:
        raise NotFound("There is no such secret.")
    aws_secrets.secret_delete(account_handle(workspace.cloud_account), workspace.pk, name)
    with transaction.atomic():
        if Secret.objects.filter(pk=secret.pk).delete()[0]:
            audit("workspace.secret_delete", workspace, by=by, name=name)
            publish_on_commit(f"workspace:{workspace.pk}")


def secrets_missing(*, workspace: Workspace, names: Sequence[str]) -> list[str]:
    """Those of the names that the workspace has no secret of."""
    there = set(secrets_of(workspace).filter(name__in=names).values_list("name", flat=True))
    return [name for name in dict.fromkeys(names) if name not in there]


def secrets_by_name(workspaces: Iterable[Workspace]) -> dict[str, set[str]]:
    """The names of all secrets of some workspaces, in their order, and the ids of those that have each."""
    found: dict[str, set[str]] = {}
    stored = Secret.objects.filter(workspace__in=list(workspaces), changed_at__isnull=False).order_by("name")
    for name, workspace_id in stored.values_list("name", "workspace_id"):
        found.setdefault(name, set()).add(workspace_id)
    return found


def secrets_delete_all(*, workspace: Workspace) -> int:
    """Delete all secrets of a workspace that is being taken down; how many. Raises ``CloudFault``."""
    account, gone = account_handle(workspace.cloud_account), 0
    for secret in Secret.objects.filter(workspace=workspace):
        aws_secrets.secret_delete(account, workspace.pk, secret.name)
        gone += Secret.objects.filter(pk=secret.pk).delete()[0]
    return gone
