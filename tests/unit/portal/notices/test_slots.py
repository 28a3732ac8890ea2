"""A slot of a schedule in which nothing ran is told of, and written down with what became of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from portal.accounts.models import User
from portal.notices import services
from portal.notices.content import body_of
from portal.notices.models import Notice, Subscription
from portal.pipelines.models import Pipeline, PipelineVersion, Run, Script
from portal.schedules import firing
from portal.schedules.models import Fire, Schedule
from portal.schedules.targets import Target
from portal.workspaces.models import Workspace
from tests.people import person
from tests.unit.portal.schedules.conftest import NOON, Clock, ScheduleMaker, clock, scheduled, script, workspace

__all__ = ["clock", "scheduled", "script", "workspace"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def told(clock: Clock, owner: User) -> Subscription:
    """Ada wants to hear of what did not run."""
    return services.subscription_create(
        owner=owner, channel="email", name="Mail", address=owner.email, on=["did_not_run"]
    )


def test_what_was_missed_is_told_once(told: Subscription, clock: Clock, scheduled: ScheduleMaker) -> None:
    scheduled("0 * * * *")
    clock.set(2026, 11, 21, 17, 30)
    firing.schedules_fire()
    firing.schedules_fire()
    notice = Notice.objects.get()
    assert notice.subject == "hello did not run at 2026-11-21 13:00 UTC"
    data = body_of(notice)["data"]
    assert (data["slots"], data["script"]["name"]) == (5, "hello")
    assert "not running" in data["why"]


def test_what_was_fired_is_not(told: Subscription, clock: Clock, scheduled: ScheduleMaker) -> None:
    scheduled("0 * * * *")
    clock.set(2026, 11, 21, 13)
    firing.schedules_fire()
    assert Run.objects.count() == 1
    assert not Notice.objects.exists()


def test_the_notice_is_there_with_the_slot_or_not_at_all(
    told: Subscription, clock: Clock, scheduled: ScheduleMaker
) -> None:
    scheduled("0 * * * *")
    clock.set(2026, 11, 21, 17, 30)

    class Killed(Exception):
        pass

    with pytest.raises(Killed), transaction.atomic():
        firing.schedules_fire()
        assert (Fire.objects.count(), Notice.objects.count()) == (1, 1)
        raise Killed
    assert (Fire.objects.count(), Notice.objects.count()) == (0, 0)
    firing.schedules_fire()
    assert (Fire.objects.count(), Notice.objects.count()) == (1, 1)


def test_a_pipeline_that_is_still_running_is_told_of(
    told: Subscription, clock: Clock, scheduled: ScheduleMaker, workspace: Workspace, owner: User
) -> None:
    """Its own refusal is taken back with the run that was not made; the schedule's is not."""
    made = Pipeline.objects.create(
        owner=owner, name="nightly", claimed_name="nightly", workspace=workspace, concurrency="forbid"
    )
    definition: dict[str, Any] = {"parameters": {}, "workspace_id": workspace.pk, "on_failure": "stop", "steps": []}
    PipelineVersion.objects.create(pipeline=made, number=1, source="", definition=definition)
    Run.objects.create(owner=owner, workspace=workspace, pipeline=made, name="nightly", state="running")
    scheduled("0 * * * *", target=Target("pipeline", pipeline=made.pk))
    clock.set(2026, 11, 21, 13)
    firing.schedules_fire()
    notice = Notice.objects.get()
    assert notice.facts["why"].startswith("nightly is still running.")
    assert body_of(notice)["data"]["pipeline"] == {"id": made.pk, "name": "nightly"}


def test_a_schedule_of_every_second_fills_no_mailbox(
    told: Subscription, clock: Clock, scheduled: ScheduleMaker
) -> None:
    schedule = scheduled("0 * * * *")
    for second in range(120):
        due_at = NOON + timedelta(seconds=second)
        fire = Fire.objects.create(schedule=schedule, due_at=due_at, state="refused", why="busy")
        firing._tell(fire)
    assert Notice.objects.count() == 1


def test_only_of_what_was_chosen_and_of_ones_own(
    told: Subscription, clock: Clock, scheduled: ScheduleMaker, script: Script, owner: User
) -> None:
    other = Script.objects.create(owner=owner, name="other", claimed_name="other")
    services.subscription_update(subscription=told, by=owner, scripts=[other.pk])
    schedule = scheduled("0 * * * *")
    clock.set(2026, 11, 21, 17, 30)
    firing.schedules_fire()
    assert not Notice.objects.exists()
    services.subscription_update(subscription=told, by=owner, scripts=[script.pk])
    Schedule.objects.update(owner=person("mallory@example.org"))
    schedule.refresh_from_db()
    firing._tell(Fire(schedule=schedule, due_at=timezone.now(), state="missed"))
    assert not Notice.objects.exists()


def test_a_workspace_that_was_not_started_is_told_of_too(
    told: Subscription, clock: Clock, scheduled: ScheduleMaker, workspace: Workspace
) -> None:
    scheduled("0 * * * *", name="Mornings", target=Target("start", workspace=workspace.pk))
    clock.set(2026, 11, 21, 17, 30)
    firing.schedules_fire()
    assert Notice.objects.get().subject.startswith("Mornings did not run at")
    assert body_of(Notice.objects.get())["data"]["schedule"]["name"] == "Mornings"
