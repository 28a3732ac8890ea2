"""Pipelines and their runs as rows, without a cloud, for pages to show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.accounts.models import User
from portal.pipelines.models import FINAL, OPEN, Pipeline, Run, ScriptVersion, Step
from portal.pipelines.pipelines import pipeline_apply
from portal.pipelines.services import LIMITS
from portal.workspaces.models import Workspace

from .conftest import log_grown

DIAMOND = """\
name: nightly
description: Counts what came in
workspace: Lab
parameters:
  day: {default: today, description: Which day}
steps:
  - {name: fetch, script: Weather}
  - {name: left, script: Weather, needs: [fetch]}
  - {name: right, script: Weather, needs: [fetch]}
  - {name: report, script: Weather, needs: [left, right]}
"""
PipelineMaker = Callable[..., Pipeline]
PipelineRunMaker = Callable[..., Run]


@pytest.fixture
def pipeline_made(owner: User, workspace: Workspace, version: ScriptVersion) -> PipelineMaker:
    """``pipeline_made(source)``: saved as its owner saves it."""

    def make(source: str = DIAMOND) -> Pipeline:
        pipeline, _, _ = pipeline_apply(owner=owner, source=source)
        return pipeline

    return make


@pytest.fixture
def pipeline_run_made(owner: User, version: ScriptVersion, pipeline_made: PipelineMaker) -> PipelineRunMaker:
    """``pipeline_run_made({"fetch": "succeeded", "left": "failed"}, state="failed")``: a run with steps in states.

    Steps that are not named wait, or were skipped where the run has ended; ``more`` sets fields of steps by their key.
    """

    def make(
        states: Mapping[str, str],
        *,
        state: str = "running",
        source: str = DIAMOND,
        lines: Sequence[Any] = (["out", "hello"],),
        more: Mapping[str, Mapping[str, Any]] | None = None,
        **given: Any,
    ) -> Run:
        pipeline = pipeline_made(source)
        written = pipeline.versions.order_by("-number")[0]
        now = timezone.now()
        begun = now - timedelta(minutes=10)
        fields: dict[str, Any] = {"started_at": begun, "finished_at": now if state in FINAL else None} | given
        run = Run.objects.create(
            owner=owner,
            workspace=pipeline.workspace,
            pipeline=pipeline,
            pipeline_version=written,
            parameters={"day": "today"},
            name=pipeline.name,
            requested_by=owner,
            state=state,
            **fields,
        )
        for position, step in enumerate(written.definition["steps"], 1):
            found = states.get(step["name"], "skipped" if state in FINAL else "waiting")
            ran = found not in {"waiting", "skipped", "queued"}
            start = begun + timedelta(seconds=40 * position)
            made = Step.objects.create(
                run=run,
                workspace=pipeline.workspace,
                position=position,
                name=step["name"],
                key=step["name"],
                needs=step["needs"],
                inputs=step["inputs"],
                version=version,
                state=found,
                attempt=1 if ran else 0,
                executions=1 if ran else 0,
                limits={key: default for key, (default, _, _) in LIMITS.items()},
                released_at=start - timedelta(seconds=8) if ran or found == "queued" else None,
                started_at=start if ran else None,
                finished_at=start + timedelta(seconds=30) if found not in OPEN else None,
                log_lines=len(lines) if ran else 0,
                **(more or {}).get(step["name"], {}),
            )
            if ran:
                log_grown(made, lines)
        return run

    return make
