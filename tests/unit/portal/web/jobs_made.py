"""Jobs and their shards as rows, without a cloud, for pages to show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.accounts.models import User
from portal.jobs.models import Job
from portal.jobs.submission import submission_check
from portal.pipelines.models import FINAL, OPEN, Run, ScriptVersion, Step
from portal.pipelines.services import LIMITS
from portal.workspaces.models import Workspace

JobMaker = Callable[..., Job]
SUBMISSION = {
    "name": "blur the coast",
    "script": "Weather",
    "arguments": ["--radius", "3"],
    "data": {
        "kind": "stac",
        "url": "https://example.org/stac/catalog.json",
        "bbox": [-60.5, -12.0, -48.0, -3.5],
        "time": ["2024-06-01T00:00:00Z", "2024-06-30T23:59:59Z"],
        "collections": ["CBERS4MUX"],
        "query": {"eo:cloud_cover": {"lte": 20}},
        "assets": ["thumbnail"],
        "limit": 500,
    },
    "nodes": 4,
    "budget": "1.50",
}
_LIMITS = {key: default for key, (default, _, _) in LIMITS.items()}


@pytest.fixture
def job_made(owner: User, workspace: Workspace, version: ScriptVersion) -> JobMaker:
    """``job_made({"succeeded": 6, "running": 2})``: a job with shards in these states, in this order.

    ``run`` is the state of all; ``more`` sets fields of shards by their number, ``given`` fields of the job.
    """

    def make(
        states: Mapping[str, int] | None = None,
        *,
        phase: str = "running",
        run: str = "running",
        more: Mapping[int, Mapping[str, Any]] | None = None,
        by: User = owner,
        **given: Any,
    ) -> Job:
        now = timezone.now()
        begun = now - timedelta(minutes=10)
        shards = [state for state, count in (states or {}).items() for _ in range(count)]
        made = Run.objects.create(
            owner=by,
            workspace=workspace,
            script=version.script,
            name=given.get("name", SUBMISSION["name"]),
            state=run,
            at_once=4,
            on_failure="continue",
            started_at=begun if shards else None,
            finished_at=now if run in FINAL else None,
        )
        definition = submission_check(owner=by, submission=SUBMISSION).definition
        fields: dict[str, Any] = {"name": SUBMISSION["name"], "nodes": 4, "items": 10 * len(shards)} | given
        job = Job.objects.create(
            owner=by,
            workspace=workspace,
            run=made,
            script=version.script,
            version=version,
            definition=definition,
            phase=phase,
            shards=len(shards),
            ended_at=now if phase == "ended" else None,
            **fields,
        )
        Step.objects.bulk_create(
            shard(made, version, number, state, (more or {}).get(number, {})) for number, state in enumerate(shards, 1)
        )
        return job

    return make


def shard(run: Run, version: ScriptVersion, number: int, state: str, more: Mapping[str, Any]) -> Step:
    """One shard, as splitting would have made it, and as its instance left it."""
    ran = state not in {"waiting", "queued", "skipped"}
    begun = timezone.now() - timedelta(minutes=10, seconds=-number % 500)
    fields: dict[str, Any] = {
        "attempt": int(ran),
        "executions": int(ran),
        "instance_id": f"i-0node{number % 4}" if ran else "",
        "started_at": begun if ran else None,
        "finished_at": begun + timedelta(seconds=30) if state not in OPEN and ran else None,
    }
    return Step(
        run=run,
        workspace_id=run.workspace_id,
        version=version,
        position=number,
        name=f"shard {number}",
        key=f"shard-{number:05}",
        rank=Step.Rank.SHARD,
        state=state,
        limits=_LIMITS,
        data={"key": "jobs/x/items.jsonl", "offset": 0, "length": 10, "items": 10},
        **(fields | dict(more)),
    )
