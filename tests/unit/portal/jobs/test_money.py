"""What jobs may cost: reserved when they are accepted, kept to while their shards run, given back at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal.accounts.models import User
from portal.core.errors import Invalid, LimitReached
from portal.jobs import money, services
from portal.jobs.models import Job
from portal.jobs.work import job_work
from portal.pipelines.models import Run, State, Step
from portal.usage import guard
from portal.usage.budgets import budget_update
from portal.usage.models import Budget, Reservation, UsageRecord
from portal.usage.money import NANO
from portal.workspaces.models import Workspace
from tests.unit.portal.jobs.conftest import shard_end
from tests.unit.portal.pipelines.conftest import Agent

DOLLAR = NANO
LIMITS = {"seconds": 600, "output_mb": 10}


@pytest.fixture
def operator(db: None) -> User:
    return User.objects.create_user("operator@example.org", is_staff=True)


def test_a_budget_bounds_the_run_and_is_reserved(
    owner: User, operator: User, split: Callable[..., Job], workspace: Workspace
) -> None:
    budget_update(user=owner, by=operator, hard=DOLLAR)
    job = split(budget="0.60", limits=LIMITS)
    run = Run.objects.get(pk=job.run_id)
    assert run.cost_of_step == money.attempt_most(workspace, job.definition) > 0
    assert 0 < 600_000_000 - (run.cost_limit or 0) < 20_000_000  # kept back for the start of its node
    assert Budget.objects.get().reserved == 600_000_000
    assert 0 < (job.estimate or 0) <= (job.estimate_most or 0) <= 600_000_000
    with pytest.raises(LimitReached) as refusal:
        split(budget="0.60", limits=LIMITS)
    assert refusal.value.code == "budget_reached"
    assert Job.objects.count() == 1


def test_a_budget_that_is_too_small_for_one_shard_is_refused_at_once(submitted: Callable[..., Job]) -> None:
    with pytest.raises(Invalid) as refusal:
        submitted(budget="0.0001", limits=LIMITS)
    assert "One shard can cost up to" in refusal.value.fields["budget"]
    assert not Job.objects.exists()


def test_without_a_budget_of_its_own_the_bound_is_reserved_when_it_is_split(
    owner: User, operator: User, split: Callable[..., Job], workspace: Workspace
) -> None:
    budget_update(user=owner, by=operator, hard=DOLLAR)
    job = split(limits=LIMITS, retries={"count": 1})
    shards = Step.objects.filter(run=job.run_id).count()
    assert Run.objects.get().cost_limit == shards * 2 * money.attempt_most(workspace, job.definition)
    assert Reservation.objects.get().amount >= Run.objects.get().cost_limit  # type: ignore[operator]
    budget_update(user=owner, by=operator, hard=Budget.objects.get().reserved + 1)
    other = split(limits=LIMITS, name="another")
    assert (other.phase, other.reason) == ("ended", "budget_reached")


def test_without_any_budget_nothing_is_bounded(split: Callable[..., Job]) -> None:
    job = split(limits=LIMITS)
    assert Run.objects.get(pk=job.run_id).cost_limit is None
    assert not Reservation.objects.exists()
    assert (job.estimate or 0) > 0


def test_its_end_settles_it_and_a_retry_has_what_is_left(
    owner: User,
    operator: User,
    split: Callable[..., Job],
    agent: Agent,
    workspace: Workspace,
    django_capture_on_commit_callbacks: Any,
) -> None:
    workspace.instances.update(slots=10, instance_type=workspace.instance_type)
    budget_update(user=owner, by=operator, hard=DOLLAR)
    job = split(budget="0.50", limits=LIMITS, retries={"count": 0})
    for step in Step.objects.filter(run=job.run_id):
        shard_end(agent, step, "failed", exit_code=1)
    cost = sum(UsageRecord.objects.values_list("nano", flat=True))
    found = Budget.objects.get()
    assert (found.reserved, found.spent) == (0, cost)
    Job.objects.update(phase="ended")
    job.refresh_from_db()
    job.run.refresh_from_db()
    assert job.run.state == State.FAILED
    first = job.run.cost_limit or 0
    with django_capture_on_commit_callbacks(execute=False):
        again = services.job_retry(job=job, by=owner)
    run = Run.objects.exclude(again_of=None).get()
    assert run.cost_limit == first - cost
    assert Budget.objects.get().reserved == 500_000_000 - cost
    assert again.run_id == run.pk
    assert money.cost(again).total == cost > 0, "what it has cost before it was tried again is its cost, too"


def test_an_estimate_is_never_above_the_budget(workspace: Workspace) -> None:
    definition = {"limits": {"seconds": 60, "output_mb": 1, "log_mb": 1}, "retries": {"count": 0}, "container": None}
    likely, most = money.estimated(workspace=workspace, shards=8, nodes=2, definition=definition | {"budget": None})
    assert 0 < (likely or 0) < (most or 0)
    assert money.estimated(workspace=workspace, shards=8, nodes=2, definition=definition | {"budget": "0.01"})[1] == (
        10_000_000
    )


def test_a_job_that_is_still_searching_ends_when_its_owners_budget_is_reached(
    owner: User,
    operator: User,
    submitted: Callable[..., Job],
    django_capture_on_commit_callbacks: Any,
) -> None:
    job = submitted(budget="0.50", limits=LIMITS)
    budget_update(user=owner, by=operator, hard=0)
    with django_capture_on_commit_callbacks(execute=True):
        guard.budgets_sweep()
    job.refresh_from_db()
    assert (job.phase, Run.objects.get().state) == ("ended", State.CANCELLED)


def test_one_that_ended_before_its_shards_began_is_split_again(
    owner: User, operator: User, split: Callable[..., Job], workspace: Workspace
) -> None:
    budget_update(user=owner, by=operator, hard=1_000)
    job = split(limits=LIMITS)
    assert (job.phase, job.state, job.reason) == ("ended", "failed", "budget_reached")
    assert not Step.objects.filter(run=job.run_id).exists()
    budget_update(user=owner, by=operator, hard=100 * DOLLAR)
    job = services.job_retry(job=Job.objects.get(pk=job.pk), by=owner)
    assert job_work(job_id=job.pk) == "running"
    assert Step.objects.filter(run=job.run_id).count() == 3
