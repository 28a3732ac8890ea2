"""What steps can cost at most, from their limits: known before they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils import timezone

from portal.pipelines.models import Run, Step
from portal.usage import prices
from portal.workspaces.models import Workspace

# What an attempt may take beyond its limit: being told to end, and killed.
GRACE_SECONDS = 30
MB = 1024 * 1024


def most_of_step(workspace: Workspace, limits: Mapping[str, Any], retries: Mapping[str, Any]) -> int:
    """What one step costs if each try runs up to its limit on its share of an instance, and sends all that it may."""
    tries = 1 + int(retries.get("count", 0))
    rate = prices.instance_rate(workspace.cloud_account.region, workspace.instance_type, timezone.now())
    seconds = int(limits["seconds"]) + GRACE_SECONDS
    sent = (int(limits["output_mb"]) + int(limits["log_mb"])) * MB
    out = -(-sent * prices.egress_rate(workspace.cloud_account.region, timezone.now()) // prices.GIB)
    return tries * (-(-seconds * rate // max(1, workspace.slots)) + out)


def most_of(run: Run, steps: Sequence[Step]) -> int:
    """What a run costs if all of its steps do."""
    wanted = {step.workspace_id for step in steps}
    if wanted == {run.workspace_id}:
        known = {run.workspace_id: run.workspace}
    else:
        known = {w.pk: w for w in Workspace.objects.filter(pk__in=wanted).select_related("cloud_account")}
    return sum(most_of_step(known[step.workspace_id], step.limits, step.retries) for step in steps)
