"""What steps can cost at most, from their limits: known before they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils import timezone

from portal.pipelines.models import Run, Step
from portal.usage import prices
from portal.workspaces.models import Workspace

# What an attempt may take beyond the limit of its program: fetching and installing what it needs, being told to end,
# sending what it leaves. In a container, which may have to be built, more.
AROUND_SECONDS = 300
AROUND_CONTAINER_SECONDS = 1_800


def most_of_attempt(workspace: Workspace, limits: Mapping[str, Any], *, container: bool = False) -> int:
    """What one attempt costs that runs up to its limit on its share of an instance.

    What it leaves goes to its bucket for nothing; what goes out of the cloud is on the workspace's account.
    """
    region, now = workspace.cloud_account.region, timezone.now()
    seconds = int(limits["seconds"]) + (AROUND_CONTAINER_SECONDS if container else AROUND_SECONDS)
    return -(-seconds * prices.instance_rate(region, workspace.instance_type, now) // max(1, workspace.slots))


def most_of_step(
    workspace: Workspace, limits: Mapping[str, Any], retries: Mapping[str, Any], *, container: bool = False
) -> int:
    """What a step costs if each of its tries does."""
    return (1 + int(retries.get("count", 0))) * most_of_attempt(workspace, limits, container=container)


def most_of(run: Run, steps: Sequence[Step]) -> int:
    """What a run costs if all of its steps do."""
    wanted = {step.workspace_id for step in steps}
    if wanted == {run.workspace_id}:
        known = {run.workspace_id: run.workspace}
    else:
        known = {w.pk: w for w in Workspace.objects.filter(pk__in=wanted).select_related("cloud_account")}
    return sum(
        most_of_step(known[step.workspace_id], step.limits, step.retries, container=bool(step.container))
        for step in steps
    )
