"""What workspaces do when other apps change something."""

from __future__ import annotations

from typing import Any

from portal.accounts.events import ssh_keys_changed
from portal.accounts.models import User
from portal.clouds.events import account_unlinked
from portal.clouds.models import CloudAccount
from portal.workspaces.control import control_changed, control_changed_for_owner
from portal.workspaces.events import workspace_ready
from portal.workspaces.letting_go import workspaces_let_go
from portal.workspaces.models import Workspace


def _keys_changed(sender: object, *, owner_id: str, **_: Any) -> None:
    control_changed_for_owner(owner_id=owner_id)


def _ready(sender: object, *, workspace: Workspace, **_: Any) -> None:
    """An instance that has just come up reads the newest desired state: keys may have changed while it was away."""
    control_changed([workspace.pk])


def _unlinked(sender: object, *, account: CloudAccount, by: User, **_: Any) -> None:
    workspaces_let_go(account=account, by=by)


def connect() -> None:
    """Subscribe; called once, when Django has loaded."""
    ssh_keys_changed.connect(_keys_changed, dispatch_uid="workspaces.keys")
    workspace_ready.connect(_ready, dispatch_uid="workspaces.ready")
    account_unlinked.connect(_unlinked, dispatch_uid="workspaces.unlinked")
