"""What is done with usage when something happens to runs and workspaces. All is heard in the change's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portal.pipelines.attempts import Attempt
from portal.pipelines.events import attempts_ended
from portal.usage import abuse, bounded, services


def _ended(sender: object, *, attempts: Sequence[Attempt], **_: Any) -> None:
    services.attempts_add(attempts=attempts)


def connect() -> None:
    """Subscribe; called once, when Django has loaded."""
    attempts_ended.connect(_ended, dispatch_uid="usage.attempts")
    bounded.connect()
    abuse.connect()
