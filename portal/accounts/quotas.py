"""How much one person may have of what. Trial accounts have less, until an operator lifts that."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from portal.accounts.models import User


@dataclass(frozen=True)
class Quota:
    """``sizes`` are types of instances, the empty tuple means all; ``open_runs`` and ``open_steps`` have not ended."""

    workspaces: int
    nodes: int
    sizes: tuple[str, ...]
    volume_gb: int
    step_seconds: int
    open_runs: int
    open_steps: int

    def allows(self, instance_type: str) -> bool:
        """Whether instances may be of this type."""
        return not self.sizes or instance_type in self.sizes


def quota_of(user: User) -> Quota:
    """What this person may have."""
    if user.trial:
        return Quota(**settings.TRIAL_QUOTA)
    return Quota(workspaces=settings.MAX_WORKSPACES, **settings.QUOTA)
