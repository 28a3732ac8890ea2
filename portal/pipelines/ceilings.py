"""What stops a loop that submits runs for ever, and a script that runs for ever: ceilings for each person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from portal.accounts.models import User
from portal.accounts.quotas import Quota, quota_of
from portal.core.errors import Invalid, LimitReached
from portal.pipelines.models import OPEN, Run, Step


def room_require(owner: User, limits: Sequence[Mapping[str, Any]]) -> None:
    """See that one more run, of steps with these limits, fits. Raises ``Invalid``, ``LimitReached``."""
    quota = quota_of(owner)
    seconds_require(quota, limits)
    runs = Run.objects.filter(owner=owner, state__in=OPEN).order_by()
    if runs[: quota.open_runs + 1].count() > quota.open_runs - 1:
        raise LimitReached(
            f"You have {quota.open_runs} runs that have not ended, and may not have more.",
            code="too_many_open_runs",
            hint="Wait for some to end, or stop them. If a program starts them in a loop, stop that first.",
        )
    if len(limits) > 1:  # a run of one step adds little, and must start quickly
        steps = Step.objects.filter(run__owner=owner, state__in=OPEN).order_by()
        if steps[: quota.open_steps + 1].count() + len(limits) > quota.open_steps:
            raise LimitReached(
                f"You may have {quota.open_steps} steps that have not ended.",
                code="too_many_open_steps",
                hint="Wait for some to end, or stop runs that you no longer need.",
            )


def seconds_require(quota: Quota, limits: Sequence[Mapping[str, Any]]) -> None:
    """Raises ``Invalid`` where a step may run for longer than its owner's steps may."""
    if any(limit.get("seconds", 0) > quota.step_seconds for limit in limits):
        raise Invalid(
            f"A step of yours may run for at most {quota.step_seconds} seconds.",
            fields={"limits": f"seconds: at most {quota.step_seconds}"},
        )
