"""Where a step should rather not run: on the instance on which another is doing the same.

That is the case of shards that are begun twice: the two share their position in the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from portal.pipelines.models import Outbox, State, Step
from portal.workspaces.models import Instance, Workspace

_SHOWN = ("run_id", "position", "instance_id")
# Of a job that may cost only so much, a message that an instance has left to others comes back to the portal, and makes
# another attempt: after so many of them anywhere is better than nowhere.
_PATIENCE = 3


def avoided(workspace: Workspace, rows: Sequence[Outbox]) -> Mapping[str, tuple[str, ...]]:
    """The instances that these steps should not run on, by the steps' ids; none where there is no other instance.

    That costs nothing where none of them can be one of two: the second of them is ``superseded`` when it is handed out,
    and the first had been handed out before.
    """
    shards = [row for row in rows if row.step.rank == Step.Rank.SHARD]
    two = [row for row in shards if row.step.superseded or row.attempt > 1]
    steps = [row.step for row in two if row.attempt - row.step.tried <= _PATIENCE]
    if not steps:
        return {}
    same = Step.objects.filter(run__in={step.run_id for step in steps}, position__in={step.position for step in steps})
    running = same.filter(state=State.RUNNING).exclude(instance_id="").exclude(pk__in=[step.pk for step in steps])
    there = {(other.run_id, other.position): other.instance_id for other in running.only(*_SHOWN)}
    if not there:
        return {}
    up = Instance.objects.filter(workspace=workspace, state=Instance.State.RUNNING)
    staying = set(up.values_list("instance_id", flat=True)) - set(workspace.nodes_leaving)
    places = {step.pk: there.get((step.run_id, step.position), "") for step in steps}
    return {step_id: (place,) for step_id, place in places.items() if place and staying - {place}}
