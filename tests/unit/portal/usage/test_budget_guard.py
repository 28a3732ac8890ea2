"""The sweep warns in time, stops what costs before the hard amount, and lets it start again when that is raised."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone
from pytest_django import Settings

from portal.accounts.models import User
from portal.core.errors import LimitReached
from portal.notices.models import Notice
from portal.notices.services import subscription_create
from portal.pipelines.models import Run, State
from portal.usage import guard, ledger, prices
from portal.usage.budgets import budget_update
from portal.usage.models import Budget, Span
from portal.usage.money import NANO
from portal.workspaces.models import Instance, Workspace
from portal.workspaces.services import workspace_start
from tests.unit.portal.pipelines.conftest import INSTANCE, Agent, only_step
from tests.unit.portal.usage.test_reservations import operator, used

__all__ = ["operator"]
DOLLAR = NANO


@pytest.fixture
def swept(django_capture_on_commit_callbacks: Any) -> Any:
    def sweep() -> int:
        with django_capture_on_commit_callbacks(execute=True):
            return guard.budgets_sweep()

    return sweep


@pytest.fixture
def rate(workspace: Workspace) -> int:
    workspace.instances.update(instance_type=workspace.instance_type, registered_at=timezone.now())
    return prices.instance_rate(workspace.cloud_account.region, workspace.instance_type, timezone.now())


def test_a_warning_comes_once_a_month(owner: User, operator: User, workspace: Workspace, swept: Any) -> None:
    subscription_create(owner=owner, channel="email", name="m", address=owner.email, on=["budget"])
    budget_update(user=owner, by=owner, soft=DOLLAR)
    swept()
    assert not Notice.objects.exists()
    used(owner, workspace, DOLLAR)
    swept()
    swept()
    notice = Notice.objects.get()
    assert (notice.kind, notice.subject) == ("budget", "Your budget is running out")
    assert "$1.00 is spent" in notice.facts["why"]
    assert ledger.standing_of(owner).is_soft_reached
    Budget.objects.update(warned=ledger.this_month() - timedelta(days=40))
    workspace.refresh_from_db()
    assert workspace.state == "ready"


def test_who_has_no_notification_gets_a_mail(owner: User, workspace: Workspace, swept: Any) -> None:
    budget_update(user=owner, by=owner, soft=1)
    used(owner, workspace, DOLLAR)
    swept()
    swept()
    assert [message.subject for message in mail.outbox] == ["[Orca] Your budget is running out"]
    assert mail.outbox[0].to == [owner.email]


def test_an_idle_workspace_is_stopped_before_its_owner_has_overspent(
    owner: User, operator: User, workspace: Workspace, swept: Any, rate: int, settings: Settings
) -> None:
    ahead = settings.BUDGET_SWEEP + guard.STOPPING.total_seconds()
    hard = int(rate * (ahead + 600))
    budget_update(user=owner, by=operator, hard=hard)
    swept()
    workspace.refresh_from_db()
    assert workspace.state == "ready"
    workspace.instances.update(registered_at=timezone.now() - timedelta(seconds=601))
    swept()
    workspace.refresh_from_db()
    assert workspace.state == "stopping"
    assert "budget" in workspace.state_reason
    assert guard.coming(owner) - int(rate * ahead) < hard  # what it had really cost until then
    assert Budget.objects.get().reached_at is not None


def test_a_span_that_is_recorded_in_part_counts_for_the_rest(owner: User, workspace: Workspace, rate: int) -> None:
    now = timezone.now()
    Span.objects.create(
        kind="instance",
        owner=owner,
        workspace=workspace,
        instance_id=INSTANCE,
        region=workspace.cloud_account.region,
        size=workspace.instance_type,
        began_at=now - timedelta(hours=5),
        settled_at=now - timedelta(seconds=100),
        seen_at=now,
    )
    expected = rate * (100 + 60 + guard.STOPPING.total_seconds())
    assert expected <= guard.coming(owner) <= expected + 5 * rate


def test_runs_end_and_what_they_left_is_kept(
    owner: User,
    operator: User,
    workspace: Workspace,
    swept: Any,
    run_started: Any,
    rate: int,
    django_capture_on_commit_callbacks: Any,
) -> None:
    agent = Agent(workspace, django_capture_on_commit_callbacks)
    running, waiting = run_started(), None
    agent.say(agent.started(only_step(running)))
    workspace.instances.update(slots=0)
    waiting = run_started()
    budget_update(user=owner, by=operator, hard=0)
    swept()
    assert Run.objects.get(pk=waiting.pk).state == State.CANCELLED
    assert (only_step(waiting).reason, "budget" in only_step(waiting).message) == ("budget_reached", True)
    step = only_step(running)
    assert (step.state, step.cancel_requested_at is not None) == (State.RUNNING, True)
    workspace.refresh_from_db()
    assert workspace.state == "ready"  # it has its time to leave what it has
    agent.say(agent.finished(step, "cancelled", reason="cancelled", outputs=()))
    swept()
    workspace.refresh_from_db()
    assert workspace.state == "stopping"


def test_nothing_starts_until_the_budget_is_raised(
    owner: User, operator: User, workspace: Workspace, swept: Any, run_started: Any, rate: int
) -> None:
    budget_update(user=owner, by=operator, hard=1)
    swept()
    Workspace.objects.update(state="stopped")
    Instance.objects.update(state="stopped")
    workspace = Workspace.objects.get()
    with pytest.raises(LimitReached) as refusal:
        workspace_start(workspace=workspace, by=owner)
    assert refusal.value.code == "budget_reached"
    with pytest.raises(LimitReached):
        run_started()
    budget_update(user=owner, by=operator, hard=100 * DOLLAR)
    workspace_start(workspace=workspace, by=owner)
    run_started()


def test_a_job_is_told_of_once_at_four_fifths(owner: User, workspace: Workspace, swept: Any) -> None:
    subscription_create(owner=owner, channel="email", name="m", address=owner.email, on=["budget"])
    run = Run.objects.create(
        owner=owner, workspace=workspace, name="blur", at_once=4, cost_limit=100, cost_of_step=1, cost_spent=79
    )
    swept()
    assert not Notice.objects.exists()
    Run.objects.filter(pk=run.pk).update(cost_spent=80)
    swept()
    swept()
    assert Notice.objects.get().subject == "The budget of blur is running out"
