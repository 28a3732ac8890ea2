"""Attempts at steps that have ended: what an instance worked on, from when to when. Whoever counts usage hears of them.

One that no instance began is none. What an agent reports of times is kept within what the portal knows itself: nothing
began before it was handed out, or ends in the future.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.utils import timezone

from portal.pipelines.events import attempts_ended
from portal.pipelines.models import ScriptVersion, Step
from portal.workspaces.models import Instance

_MOST_KNOWN = 10_000
_scripts: dict[str, str] = {}


@dataclass(frozen=True)
class Attempt:
    """Ids but for the numbers; ``execution`` is which time that an agent began the step.

    ``bytes_fetched``: of ``bytes_in``, what came from the workspace's own bucket. ``slots`` and ``instance_type`` are
    the instance's, ``region`` is its account's. ``limited``: the run has a limit of what it may cost.
    """

    step: str
    run: str
    workspace: str
    owner: str
    script: str
    attempt: int
    execution: int
    instance_id: str
    started_at: datetime | None
    finished_at: datetime
    bytes_in: int = 0
    bytes_out: int = 0
    bytes_fetched: int = 0
    limited: bool = False
    slots: int = 1
    instance_type: str = ""
    region: str = ""


def attempt_of(step: Step, **known: Any) -> Attempt | None:
    """What has come to its end with a step as it was until now, or as is ``known`` better; None if nothing had begun.

    Nobody may have reported the end: then it is the last word of the instance about it.
    """
    now = timezone.now()
    started, finished = known.get("started_at", step.started_at), known.get("finished_at") or step.seen_at or now
    instance_id = known.get("instance_id", step.instance_id)
    if started is None or not instance_id:
        return None
    started = min(max(started, step.released_at or step.created_at), now)
    return Attempt(
        step=step.pk,
        run=step.run_id,
        workspace=step.workspace_id,
        owner=step.run.owner_id,
        script=step.version_id,
        attempt=known.get("attempt", step.attempt),
        execution=known.get("execution", step.executions),
        instance_id=instance_id,
        started_at=started,
        finished_at=max(started, min(finished, now)),
        bytes_in=known.get("bytes_in", 0),
        bytes_out=known.get("bytes_out", 0),
        bytes_fetched=known.get("bytes_fetched", 0),
        limited=step.run.cost_limit is not None,
    )


def attempts_tell(attempts: Iterable[Attempt | None]) -> None:
    """Send them on with what is known of their instances. Two queries, however many they are."""
    ended = [attempt for attempt in attempts if attempt is not None]
    if not ended:
        return
    scripts = _scripts_of({attempt.script for attempt in ended})
    rows = Instance.objects.filter(
        workspace__in={attempt.workspace for attempt in ended},
        instance_id__in={attempt.instance_id for attempt in ended},
    ).select_related("workspace__cloud_account")
    instances = {(row.workspace_id, row.instance_id): row for row in rows}
    told = []
    for attempt in ended:
        known: dict[str, Any] = {"script": scripts.get(attempt.script, "")}
        row = instances.get((attempt.workspace, attempt.instance_id))
        if row is not None:
            known["slots"] = row.slots or row.workspace.slots
            known["instance_type"] = row.instance_type or row.workspace.instance_type
            known["region"] = row.workspace.cloud_account.region
        told.append(replace(attempt, **known))
    attempts_ended.send(sender=Attempt, attempts=told)


def _scripts_of(versions: set[str]) -> dict[str, str]:
    """The scripts of versions. A version never changes its script: who is known needs no query."""
    if missing := versions - _scripts.keys():
        if len(_scripts) > _MOST_KNOWN:
            _scripts.clear()
            missing = versions
        _scripts.update(ScriptVersion.objects.filter(pk__in=missing).values_list("pk", "script"))
    return _scripts
