"""What operators see of possible abuse: spikes, mining on trial accounts, and many who come from one place."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from portal.accounts.models import User
from portal.pipelines.attention import Concern, concern_mend, concerns
from portal.pipelines.models import Run, Step
from portal.usage.models import Kind, UsageDay
from portal.usage.traffic import traffic_measure
from portal.workspaces.models import Workspace
from tests.people import person
from tests.unit.portal.pipelines.conftest import INSTANCE, only_step
from tests.unit.portal.usage.conftest import Measured
from tests.unit.portal.usage.statement_made import used

GB = 1024**3


@pytest.fixture
def operator(db: None) -> User:
    return person("operator@example.org")


def of_kind(kind: str) -> list[Concern]:
    return [concern for concern in concerns() if concern.kind == kind]


def sent(owner: User, workspace: Workspace, gb: float, days_ago: int) -> None:
    day = timezone.now().date() - timedelta(days=days_ago)
    UsageDay.objects.create(owner=owner, workspace=workspace, kind=Kind.EGRESS, day=day, quantity=int(gb * GB))


@pytest.mark.parametrize(("habit", "now", "noticed"), [(0, 60, True), (1, 60, True), (20, 60, False), (0, 40, False)])
def test_far_more_than_usual_is_noticed(
    owner: User, workspace: Workspace, habit: float, now: float, noticed: bool
) -> None:
    for days_ago in range(2, 30):
        sent(owner, workspace, habit, days_ago)
    sent(owner, workspace, now / 2, 1)
    sent(owner, workspace, now / 2, 0)
    assert bool(of_kind("egress")) is noticed


def test_downloads_by_link_are_noticed(workspace: Workspace, measured: Measured) -> None:
    measured.bucket(timezone.now(), BytesDownloaded=60 * GB, GetRequests=2)
    assert not of_kind("egress")
    traffic_measure()
    (concern,) = of_kind("egress")
    assert concern.id == workspace.owner_id
    assert "60 GB" in concern.what


def test_what_steps_fetch_from_their_bucket_is_no_spike(workspace: Workspace, measured: Measured) -> None:
    measured.bucket(timezone.now(), BytesDownloaded=60 * GB, GetRequests=2)
    now = timezone.now()
    used(workspace, Kind.FETCHED, 0, quantity=60 * GB, day=now.day, month=now.month, year=now.year)
    traffic_measure()
    assert not of_kind("egress")


def test_an_operator_may_stop_whoever_sends(owner: User, operator: User, workspace: Workspace) -> None:
    sent(owner, workspace, 90, 0)
    (concern,) = of_kind("egress")
    concern_mend(kind="egress", concern_id=concern.id, by=operator)
    workspace.refresh_from_db()
    assert (workspace.state, "operator" in workspace.state_reason) == ("stopping", True)


@pytest.fixture
def busy(owner: User, workspace: Workspace, run_started: Any) -> Step:
    """A step that kept both processors of its instance busy for two hours, on trial."""
    User.objects.filter(pk=owner.pk).update(trial=True)
    workspace.instances.update(cpus=2, load=0.1)
    step: Step = only_step(run_started())
    now = timezone.now()
    ended = {"started_at": now - timedelta(hours=2), "finished_at": now, "cpu_seconds": 2 * 7_000, "state": "succeeded"}
    Step.objects.update(instance_id=INSTANCE, **ended)
    Run.objects.update(state="succeeded")
    return step


def test_busy_for_long_without_outputs_is_noticed_on_trial_accounts(busy: Step, owner: User) -> None:
    assert [concern.id for concern in of_kind("mining")] == [busy.run_id]
    User.objects.filter(pk=owner.pk).update(trial=False)
    assert not of_kind("mining")


@pytest.mark.parametrize(
    "changes", [{"cpu_seconds": 7_000}, {"outputs": [{"path": "a", "size": 1, "content_type": ""}]}]
)
def test_one_processor_or_something_to_show_is_no_mining(busy: Step, changes: dict[str, Any]) -> None:
    Step.objects.update(**changes)
    assert not of_kind("mining")


def test_what_mines_still_is_noticed_by_the_load_and_can_be_stopped(
    busy: Step, operator: User, workspace: Workspace
) -> None:
    Step.objects.update(state="running", finished_at=None, cpu_seconds=None)
    Run.objects.update(state="running")
    assert not of_kind("mining")
    workspace.instances.update(load=2.1)
    (concern,) = of_kind("mining")
    concern_mend(kind="mining", concern_id=concern.id, by=operator)
    assert Run.objects.get().cancel_requested_at is not None
    workspace.refresh_from_db()
    assert workspace.state == "stopping"


def test_many_from_one_place_are_noticed_and_can_be_put_on_trial(settings: Settings, operator: User) -> None:
    settings.SIGNUP_ALARM = 3
    for number in range(3):
        User.objects.create_user(f"one{number}@example.org", signed_up_from="192.0.2.1")
    User.objects.create_user("other@example.org", signed_up_from="192.0.2.2")
    (concern,) = of_kind("sign-ups")
    assert concern.id == "192.0.2.1"
    concern_mend(kind="sign-ups", concern_id=concern.id, by=operator)
    assert User.objects.filter(trial=True).count() == 3
