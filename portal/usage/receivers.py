"""What is done with usage when something happens to runs and workspaces. All is heard in the change's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from allauth.account.signals import user_signed_up

from portal.accounts.models import User
from portal.pipelines.attempts import Attempt
from portal.pipelines.events import attempts_ended
from portal.usage import abuse, bounded, services


def _ended(sender: object, *, attempts: Sequence[Attempt], **_: Any) -> None:
    services.attempts_add(attempts=attempts)


def _signed_up(sender: object, *, user: User, **_: Any) -> None:
    services.trial_grant(owner=user)


def connect() -> None:
    """Subscribe; called once, when Django has loaded."""
    attempts_ended.connect(_ended, dispatch_uid="usage.attempts")
    user_signed_up.connect(_signed_up, dispatch_uid="usage.signed_up")
    bounded.connect()
    abuse.connect()
