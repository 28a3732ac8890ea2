"""What workspaces do when other apps change something."""

from __future__ import annotations

from typing import Any

from portal.accounts.events import ssh_keys_changed
from portal.workspaces.control import control_changed_for_owner


def _keys_changed(sender: object, *, owner_id: str, **_: Any) -> None:
    control_changed_for_owner(owner_id=owner_id)


def connect() -> None:
    """Subscribe; called once, when Django has loaded."""
    ssh_keys_changed.connect(_keys_changed, dispatch_uid="workspaces.keys")
