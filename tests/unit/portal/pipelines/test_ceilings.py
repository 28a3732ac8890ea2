"""A loop that submits runs, and a script that runs for ever, meet a ceiling."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from portal.accounts.models import User
from portal.core.errors import Invalid, LimitReached
from portal.pipelines.models import Run, ScriptVersion, State, Step
from portal.pipelines.pipelines import pipeline_apply, pipeline_run

TWO = "name: two\nsteps:\n  - name: a\n    script: hello\n  - name: b\n    script: hello\n"


def test_so_many_runs_may_be_open(settings: Settings, run_started: Any) -> None:
    settings.QUOTA = settings.QUOTA | {"open_runs": 3}
    runs = [run_started() for _ in range(3)]
    with pytest.raises(LimitReached) as refusal:
        run_started()
    assert refusal.value.code == "too_many_open_runs"
    Run.objects.filter(pk=runs[0].pk).update(state=State.SUCCEEDED)
    run_started()
    assert Run.objects.count() == 4


def test_so_many_steps_may_be_open(settings: Settings, owner: User, version: ScriptVersion) -> None:
    settings.QUOTA = settings.QUOTA | {"open_steps": 5}
    pipeline, _, _ = pipeline_apply(owner=owner, source=TWO)
    for _ in range(2):
        pipeline_run(pipeline=pipeline, by=owner)
    with pytest.raises(LimitReached) as refusal:
        pipeline_run(pipeline=pipeline, by=owner)
    assert refusal.value.code == "too_many_open_steps"
    assert Step.objects.count() == 4


def test_a_step_may_run_for_so_long(settings: Settings, owner: User, run_started: Any, version: ScriptVersion) -> None:
    User.objects.filter(pk=owner.pk).update(trial=True)
    owner.refresh_from_db()
    run_started(limits={"seconds": settings.TRIAL_QUOTA["step_seconds"]})
    with pytest.raises(Invalid) as refusal:
        run_started(limits={"seconds": settings.TRIAL_QUOTA["step_seconds"] + 1})
    assert "limits" in refusal.value.fields
    long = TWO.replace("name: b", "name: b\n    limits: {seconds: 86400}")
    pipeline, _, _ = pipeline_apply(owner=owner, source=long)
    with pytest.raises(Invalid):
        pipeline_run(pipeline=pipeline, by=owner)
    assert Run.objects.count() == 1
