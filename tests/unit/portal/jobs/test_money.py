"""What a job may cost bounds its shards: set aside when it is accepted, never more than its budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal.accounts.models import User
from portal.core.errors import Invalid, LimitReached
from portal.jobs import money, services, work
from portal.jobs.models import Job
from portal.pipelines.models import Run, Step
from portal.usage.models import Budget, Reservation
from portal.workspaces.models import Workspace
from tests.unit.portal.jobs.conftest import Agent, Found, shard_end

pytestmark = pytest.mark.django_db
Make = Callable[..., Job]
SMALL: dict[str, Any] = {"seconds": 60, "output_mb": 1, "log_mb": 1}


@pytest.fixture
def bounded(owner: User) -> Callable[[int], None]:
    """The owner has so many nano-dollars a month."""

    def give(hard: int) -> None:
        User.objects.filter(pk=owner.pk).update(budgeted=True)
        owner.budgeted = True
        Budget.objects.update_or_create(owner=owner, defaults={"hard": hard, "month": "2000-01-01"})

    return give


def test_a_budget_bounds_the_run(submitted: Make) -> None:
    run = submitted(budget="1.50", limits=SMALL).run
    run.refresh_from_db()
    assert run.cost_limit == 1_500_000_000
    assert 0 < run.cost_of_step < run.cost_limit


def test_a_budget_for_less_than_one_shard_is_refused(submitted: Make) -> None:
    with pytest.raises(Invalid) as caught:
        submitted(budget="0.0001", limits={"seconds": 86_400})
    assert "One shard alone can cost" in caught.value.fields["budget"]
    assert not Job.objects.exists()
    assert not Run.objects.exists()


def test_no_more_shards_are_out_than_the_budget_bears(
    split: Make, workspace: Workspace, sky: list[Found], submitted: Make
) -> None:
    workspace.instances.update(slots=50)
    sky[:] = [Found(str(number)) for number in range(20)]
    probe = submitted(budget="1.50", limits=SMALL)
    each = Run.objects.get(pk=probe.run_id).cost_of_step
    budget = f"{(3 * each + each // 2) / money.NANO:.4f}"
    job = split(budget=budget, limits=SMALL, shards={"most_items": 1})
    assert Step.objects.filter(run=job.run_id, released_at__isnull=False).count() == 3


def test_what_may_be_spent_is_set_aside(submitted: Make, bounded: Any) -> None:
    bounded(2 * money.NANO)
    job = submitted(budget="1.50", limits=SMALL)
    assert Reservation.objects.get(run=job.run_id).amount == 1_500_000_000
    with pytest.raises(LimitReached):
        submitted(budget="1.50", limits=SMALL)
    assert Job.objects.count() == 1


def test_without_a_budget_it_is_set_aside_when_it_is_split(split: Make, bounded: Any) -> None:
    bounded(100 * money.NANO)
    job = split(limits=SMALL)
    assert Reservation.objects.get(run=job.run_id).amount == 3 * 2 * Run.objects.get(pk=job.run_id).cost_of_step
    assert job.estimate_most


def test_one_that_could_cost_more_than_is_left_ends_and_says_so(split: Make, bounded: Any) -> None:
    bounded(1_000)
    job = split(limits=SMALL)
    assert (job.phase, job.state, job.reason) == ("ended", "failed", "budget_reached")
    assert not Step.objects.filter(run=job.run_id, released_at__isnull=False).exists()


def test_one_that_ended_before_its_shards_began_is_split_again(split: Make, bounded: Any, owner: User) -> None:
    bounded(1_000)
    job = split(limits=SMALL)
    bounded(100 * money.NANO)
    job = services.job_retry(job=Job.objects.get(pk=job.pk), by=owner)
    assert work.job_work(job_id=job.pk) == "running"
    assert Step.objects.filter(run=job.run_id).count() == 3


def test_a_retry_may_spend_what_is_left(
    split: Make, agent: Agent, workspace: Workspace, owner: User, django_capture_on_commit_callbacks: Any
) -> None:
    job = split(budget="1.50", limits=SMALL, retries={"count": 0}, shards={"number": 1})
    shard_end(agent, Step.objects.get(run=job.run_id), "failed", exit_code=1)
    work.job_work(job_id=job.pk)
    Run.objects.filter(pk=job.run_id).update(cost_spent=1_000_000_000)
    job = Job.objects.get(pk=job.pk)
    services.job_retry(job=job, by=owner)
    assert Run.objects.get(pk=job.run_id).cost_limit == 500_000_000


def test_the_estimate_knows_how_long_the_script_takes(split: Make, agent: Agent) -> None:
    job = split(limits=SMALL)
    assert job.estimate is None
    shard_end(agent, Step.objects.filter(run=job.run_id).order_by("position")[0])
    later = split(limits=SMALL)
    assert later.estimate is not None
    assert later.estimate_most is not None
    assert later.estimate < later.estimate_most
