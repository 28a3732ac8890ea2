"""Schedules that stand in a pipeline's YAML."""

from __future__ import annotations

import pytest

from portal.accounts.models import User
from portal.core.errors import Invalid
from portal.pipelines.models import Script
from portal.pipelines.pipelines import pipeline_apply, pipeline_check
from portal.schedules.models import Schedule
from portal.schedules.services import schedule_disable
from portal.workspaces.models import Workspace

HEAD = "name: nightly\nworkspace: lab\nparameters: {day: today, must: }\n"
STEPS = "steps: [{name: a, script: hello}]\n"
GIVEN = "parameters: {must: x}"


@pytest.fixture(autouse=True)
def _ready(workspace: Workspace, script: Script) -> None:
    """A workspace called lab and a script called hello."""


def save(owner: User, *schedules: str) -> None:
    listed = "".join(f"  - {{{schedule}, {GIVEN}}}\n" for schedule in schedules)
    pipeline_apply(owner=owner, source=HEAD + (f"schedules:\n{listed}" if listed else "") + STEPS)


def names() -> list[str]:
    return sorted(Schedule.objects.values_list("name", flat=True))


def test_they_are_made_changed_and_deleted_with_the_pipeline(owner: User) -> None:
    save(owner, "name: early, cron: 30 2 * * *, zone: Europe/Berlin", "every: 15 minutes, missed: run_once")
    assert names() == ["nightly: 15 minutes", "nightly: early"]
    early, often = Schedule.objects.get(kind="cron"), Schedule.objects.get(kind="interval")
    assert (early.zone, early.parameters, early.next_at is None) == ("Europe/Berlin", {"must": "x"}, False)
    assert (often.every, often.unit, often.missed) == (15, "minutes", "run_once")
    counted_from = often.at
    save(owner, "name: early, cron: 30 3 * * *", "every: 15 minutes, missed: run_once")
    early.refresh_from_db()
    often.refresh_from_db()
    assert (early.expression, early.zone, often.at) == ("30 3 * * *", "UTC", counted_from)
    save(owner)
    assert names() == []


def test_one_that_was_disabled_stays_so(owner: User) -> None:
    save(owner, "cron: 30 2 * * *")
    schedule_disable(schedule=Schedule.objects.get(), by=owner)
    save(owner, "cron: 30 2 * * *, missed: run_once")
    found = Schedule.objects.get()
    assert (found.enabled, found.missed) == (False, "run_once")


@pytest.mark.parametrize(
    ("schedule", "field", "words"),
    [
        (f"{{cron: 30 2 31 2 *, {GIVEN}}}", "schedules.0.cron", "never"),
        (f"{{cron: 61 * * * *, {GIVEN}}}", "schedules.0.cron", ""),
        (f"{{cron: 1 * * * *, zone: Mars/Olympus, {GIVEN}}}", "schedules.0.zone", ""),
        (f"{{every: 3 fortnights, {GIVEN}}}", "schedules.0.every", "15 minutes"),
        (f"{{every: 900 days, {GIVEN}}}", "schedules.0.every", "366 days"),
        (f"{{cron: 1 * * * *, every: 1 day, {GIVEN}}}", "schedules.0", "either"),
        ("{cron: 1 * * * *}", "schedules.0.parameters", "must has no default"),
        ("{cron: 1 * * * *, parameters: {must: x, other: y}}", "schedules.0.parameters.other", "no parameter other"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(owner: User, schedule: str, field: str, words: str) -> None:
    source = f"{HEAD}schedules:\n  - {schedule}\n{STEPS}"
    (problem,) = pipeline_check(owner=owner, source=source)
    assert (problem.line, problem.field) == (5, field)
    assert words in problem.message
    with pytest.raises(Invalid):
        pipeline_apply(owner=owner, source=source)
    assert not Schedule.objects.exists()
