"""What is set aside for a run, and given back: budgets that refuse, and that cost nothing where there are none."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from portal.accounts.models import User
from portal.core.errors import LimitReached
from portal.pipelines import again, services
from portal.pipelines.models import Run, ScriptVersion, Step
from portal.pipelines.pipelines import pipeline_apply, pipeline_run
from portal.usage import bounds, ledger, money, prices, reservations
from portal.usage.budgets import budget_update
from portal.usage.models import Budget, Kind, Reservation, Span, UsageDay, UsageRecord
from portal.usage.money import NANO
from portal.usage.statements import month_after
from portal.workspaces.models import Workspace
from tests.unit.portal.pipelines.conftest import Agent, only_step

LIMITS = {name: default for name, (default, _, _) in services.LIMITS.items()}


@pytest.fixture
def operator(db: None) -> User:
    return User.objects.create_user("operator@example.org", is_staff=True)


@pytest.fixture
def agent(workspace: Workspace, django_capture_on_commit_callbacks: Any) -> Agent:
    workspace.instances.update(instance_type=workspace.instance_type)
    return Agent(workspace, django_capture_on_commit_callbacks)


@pytest.fixture
def each(workspace: Workspace) -> int:
    return bounds.most_of_step(workspace, LIMITS, {})


def budget(owner: User) -> Budget:
    return Budget.objects.get(owner=owner)


def used(owner: User, workspace: Workspace, nano: int, kind: str = Kind.IDLE, **more: Any) -> None:
    """Have it written down that so much was used today."""
    now = timezone.now()
    given = {"owner": owner, "workspace": workspace, "kind": kind, "quantity": 1, "nano": nano, "day": now.date()}
    UsageRecord.objects.create(
        **given, unit="ms", rate=1, began_at=now, ended_at=now, key=f"test:{UsageRecord.objects.count()}", **more
    )
    UsageDay.objects.create(**given, records=1, script=str(UsageDay.objects.count()))


def test_the_bound_is_that_of_every_try_at_its_limit(workspace: Workspace) -> None:
    one = bounds.most_of_step(workspace, LIMITS, {})
    assert bounds.most_of_step(workspace, LIMITS, {"count": 2}) == 3 * one
    assert bounds.most_of_step(workspace, LIMITS | {"seconds": 7_200}, {}) > one
    workspace.slots = 1
    assert bounds.most_of_step(workspace, LIMITS, {}) > one


def test_a_run_is_refused_when_it_could_cost_more_than_is_left(
    owner: User, operator: User, run_started: Any, each: int
) -> None:
    budget_update(user=owner, by=operator, hard=each + each // 2)
    run = run_started()
    assert Reservation.objects.get().amount == budget(owner).reserved == run.cost_limit == each
    with pytest.raises(LimitReached) as refusal:
        run_started()
    assert refusal.value.code == "budget_reached"
    assert money.shown(each // 2) in refusal.value.message
    assert Run.objects.count() == 1


def test_what_was_not_used_is_given_back_at_the_end(
    owner: User, operator: User, run_started: Any, agent: Agent, each: int
) -> None:
    budget_update(user=owner, by=operator, hard=each)
    run = run_started()
    agent.say(agent.started(only_step(run)), agent.finished(only_step(run)))
    cost = sum(UsageRecord.objects.values_list("nano", flat=True))
    found = budget(owner)
    assert (found.reserved, found.spent) == (0, cost)
    assert Reservation.objects.get().state == Reservation.State.SETTLED
    with pytest.raises(LimitReached):
        run_started()  # as much again is not left
    budget_update(user=owner, by=operator, hard=each + cost)
    run_started()


def test_a_settlement_that_was_killed_is_made_up_for(owner: User, operator: User, run_started: Any, each: int) -> None:
    budget_update(user=owner, by=operator, hard=each)
    run = run_started()
    Run.objects.update(state="lost")
    assert reservations.reservations_sweep() == 1
    assert reservations.reservations_sweep() == 0
    assert not reservations.settle(run_id=run.pk)
    assert budget(owner).reserved == 0


def test_a_new_month_begins_anew_but_for_what_runs(
    owner: User, operator: User, workspace: Workspace, run_started: Any, each: int
) -> None:
    budget_update(user=owner, by=operator, hard=2 * each)
    run_started()
    before = (ledger.this_month() - timedelta(days=1)).replace(day=1)
    Budget.objects.update(month=before, spent=2 * each, reached_at=timezone.now())
    run_started()
    found = budget(owner)
    assert (found.month, found.spent, found.reserved, found.reached_at) == (ledger.this_month(), 0, 2 * each, None)


def test_what_a_running_run_has_used_counts_once(
    owner: User, operator: User, workspace: Workspace, run_started: Any, each: int
) -> None:
    budget_update(user=owner, by=operator, hard=10 * each)
    run = run_started()
    used(owner, workspace, each // 4, Kind.COMPUTE, run=run)
    with ledger.locked(owner) as found:
        ledger.refresh(found)
    assert (found.spent, found.reserved) == (each // 4, each - each // 4)


def test_what_is_stored_is_set_aside_until_the_month_ends(owner: User, operator: User, workspace: Workspace) -> None:
    now = timezone.now()
    used(owner, workspace, 500, Kind.STORAGE)
    disk = {"owner": owner, "workspace": workspace, "instance_id": "i-1", "seen_at": now, "region": "eu-central-1"}
    Span.objects.create(kind="volume", gb=20, began_at=now - timedelta(days=60), **disk)
    hard = 100 * NANO
    budget_update(user=owner, by=operator, hard=hard)
    left = (month_after(ledger.this_month()) - now.date()).days
    days = (month_after(ledger.this_month()) - ledger.this_month()).days
    expected = 500 * (left + 2) + 20 * prices.volume_rate("eu-central-1", now) * left // days
    assert expected <= budget(owner).held <= expected * 1.001
    assert ledger.standing_of(owner).left == hard - 500 - budget(owner).held


def test_a_later_reservation_of_the_same_run_takes_its_place(owner: User, operator: User, workspace: Workspace) -> None:
    budget_update(user=owner, by=operator, hard=1_000)
    run = Run.objects.create(owner=owner, workspace=workspace, name="job")
    for most in (400, 900, 300):
        reservations.reserve(run=run, most=most)
        assert budget(owner).reserved == most
    with pytest.raises(LimitReached):
        reservations.reserve(run=run, most=1_001)
    assert budget(owner).reserved == 300


def test_every_way_to_make_a_run_is_bounded(
    owner: User, operator: User, workspace: Workspace, version: ScriptVersion, run_started: Any, each: int
) -> None:
    pipeline, _, _ = pipeline_apply(
        owner=owner, source="name: two\nsteps:\n  - name: a\n    script: hello\n  - name: b\n    script: hello\n"
    )
    run = run_started()
    made = pipeline_run(pipeline=pipeline, by=owner)
    Run.objects.update(state="failed")
    Step.objects.update(state="failed")
    made.refresh_from_db()
    budget_update(user=owner, by=operator, hard=2 * each)
    assert again.run_retry(run=made, by=owner).reservation.amount == 2 * each
    for attempt in (
        lambda: again.run_again(run=run, by=owner),
        lambda: again.run_again(run=made, by=owner),
        lambda: again.run_retry(run=made, by=owner),
        lambda: pipeline_run(pipeline=pipeline, by=owner),
        run_started,
    ):
        with pytest.raises(LimitReached):
            attempt()


def test_without_a_budget_a_run_costs_no_query(
    owner: User, run_started: Any, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    run = run_started()
    run = Run.objects.select_related("owner").get(pk=run.pk)
    with django_assert_num_queries(0):
        reservations.run_accept(run=run, steps=[])
        assert reservations.reserve(run=run, most=1) is None
        reservations.budget_require(owner=owner)


def test_trial_accounts_have_a_hard_budget(settings: Settings, owner: User, run_started: Any, each: int) -> None:
    settings.TRIAL_BUDGET = each - 1
    run_started()
    User.objects.filter(pk=owner.pk).update(trial=True)
    owner.refresh_from_db()
    with pytest.raises(LimitReached):
        run_started()


def test_the_settings_may_bound_everybody(settings: Settings, owner: User, run_started: Any, each: int) -> None:
    settings.BUDGET_HARD = each
    run_started()
    with pytest.raises(LimitReached):
        run_started()
