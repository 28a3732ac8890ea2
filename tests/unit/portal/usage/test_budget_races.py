"""Racing runs can never set aside more than the budget has: real threads, each with a connection of its own."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.db.models import Sum
from django.utils import timezone

from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.core.errors import LimitReached
from portal.core.ids import new_id
from portal.pipelines import dispatch, services
from portal.pipelines.models import OPEN, Run, ScriptVersion, State, Step
from portal.usage import bounds, reservations
from portal.usage.models import Budget, Reservation, UsageRecord
from portal.workspaces.models import Workspace
from tests.people import person
from tests.unit.portal.pipelines.conftest import Agent, ready_workspace
from tests.unit.portal.usage.conftest import prices_restored

pytestmark = pytest.mark.django_db(transaction=True)
RACERS = 20


@pytest.fixture
def workspace(transactional_db: None, cloud_account: CloudAccount) -> Workspace:
    prices_restored()
    return ready_workspace(person("ada@example.org"), cloud_account)


@pytest.fixture
def version(workspace: Workspace) -> ScriptVersion:
    upload = SimpleUploadedFile("main.py", b"print('hello')\n")
    return services.script_create(owner=workspace.owner, name="hello", uploads=[upload])


def budget_of(owner: User, hard: int) -> Budget:
    User.objects.filter(pk=owner.pk).update(budgeted=True)
    return Budget.objects.create(owner=owner, hard=hard, month="2020-01-01")


def raced(do: Callable[[int], Any], racers: int = RACERS) -> list[LimitReached]:
    """Do it in so many threads at once; what was refused. Anything else that goes wrong fails the test."""
    start, refused, wrong = threading.Barrier(racers), [], []

    def race(number: int) -> None:
        try:
            start.wait()
            do(number)
        except LimitReached as error:
            refused.append(error)
        except Exception as error:
            wrong.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=race, args=(number,)) for number in range(racers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    return refused


def test_twenty_runs_race_for_one_budget(workspace: Workspace, version: ScriptVersion) -> None:
    limits = {name: default for name, (default, _, _) in services.LIMITS.items()}
    each = bounds.most_of_step(workspace, limits, {})
    assert each > 0
    budget_of(workspace.owner, 7 * each + each // 2)
    owner = User.objects.get(pk=workspace.owner_id)
    refused = raced(lambda _: services.run_create(owner=owner, workspace=workspace, version=version))
    assert len(refused) == RACERS - 7
    assert {error.code for error in refused} == {"budget_reached"}
    assert all("is left" in error.message for error in refused)
    kept = Reservation.objects.filter(state="open").aggregate(sum=Sum("amount"))["sum"]
    budget = Budget.objects.get()
    assert (Run.objects.count(), kept, budget.reserved) == (7, 7 * each, 7 * each)
    assert budget.spent + budget.reserved <= (budget.hard or 0)


@dataclass
class Jobs:
    """One person's jobs, whose shards all run up to their limits; each may cost as much as ten of its shards."""

    workspace: Workspace
    version: ScriptVersion
    limits: dict[str, int]

    @property
    def shard(self) -> int:
        return bounds.most_of_step(self.workspace, self.limits, {})

    def accept(self, number: int) -> None:
        owner = User.objects.get(pk=self.workspace.owner_id)
        with transaction.atomic():
            run = Run.objects.create(
                owner=owner,
                workspace=self.workspace,
                name=f"job {number}",
                at_once=3,
                on_failure=Run.OnFailure.CONTINUE,
                cost_limit=10 * self.shard,
                cost_of_step=self.shard,
            )
            reservations.reserve(run=run, most=10 * self.shard)
            Step.objects.bulk_create(
                Step(run=run, workspace=self.workspace, version=self.version, position=at, rank=1, limits=self.limits)
                for at in range(25)
            )

    def taken(self) -> tuple[list[Step], datetime]:
        """Some of what is out, begun so long ago that it has reached its limits."""
        out = list(Step.objects.filter(state=State.QUEUED, released_at__isnull=False)[:5])
        began = timezone.now() - timedelta(seconds=self.limits["seconds"] + bounds.AROUND_SECONDS - 1)
        Step.objects.filter(pk__in=[step.pk for step in out]).update(released_at=began, created_at=began)
        return out, began

    def die(self) -> None:
        """Bring the instance down on which some of what is out was at work; another is given it, and says so."""
        out, began = self.taken()
        agent = Agent(self.workspace, lambda **_: nullcontext())
        starts = [agent.started(step, step.attempt, boot_id=new_id()) for step in out]
        agent.say(*(replace(start, at=began.timestamp()) for start in starts))
        agent.say(*(agent.returned(step, step.attempt) for step in out))

    def work(self) -> bool:
        """Do what is out, each shard for as long as it may; if there was any."""
        out, began = self.taken()
        agent = Agent(self.workspace, lambda **_: nullcontext())
        given = {"reason": "time_limit", "boot_id": new_id()}
        ends = [agent.finished(step, "timed_out", step.attempt, **given) for step in out]
        agent.say(*(replace(end, started_at=began.timestamp()) for end in ends))
        return bool(out)


def test_twenty_jobs_race_to_their_limits_and_the_budget_holds(workspace: Workspace, version: ScriptVersion) -> None:
    limits = {name: default for name, (default, _, _) in services.LIMITS.items()}
    jobs = Jobs(workspace, version, limits)
    hard = 65 * jobs.shard
    budget_of(workspace.owner, hard)
    workspace.instances.update(slots=workspace.slots, instance_type=workspace.instance_type)
    refused = raced(jobs.accept)
    assert (len(refused), Run.objects.count()) == (RACERS - 6, 6)
    while Run.objects.filter(state__in=OPEN).exists():
        raced(lambda _: dispatch.steps_release(workspace=workspace), racers=4)
        assert jobs.work(), "nothing is out, and yet not all has ended"
    total = sum(UsageRecord.objects.values_list("nano", flat=True))
    budget = Budget.objects.get()
    assert 0.9 * 60 * jobs.shard < total == budget.spent <= hard
    assert budget.reserved == 0
    for run in Run.objects.all():
        assert run.cost_spent <= (run.cost_limit or 0)
        states = Counter(run.steps.values_list("state", "reason"))
        assert states == {(State.TIMED_OUT, "time_limit"): 10, (State.CANCELLED, "budget_reached"): 15}


def test_jobs_whose_instances_go_down_cost_no_more_than_they_may(workspace: Workspace, version: ScriptVersion) -> None:
    limits = {name: default for name, (default, _, _) in services.LIMITS.items()}
    jobs = Jobs(workspace, version, limits)
    budget_of(workspace.owner, 20 * jobs.shard)
    workspace.instances.update(slots=workspace.slots, instance_type=workspace.instance_type)
    jobs.accept(0)
    jobs.accept(1)
    while Run.objects.filter(state__in=OPEN).exists():
        raced(lambda _: dispatch.steps_release(workspace=workspace), racers=4)
        jobs.die()
        raced(lambda _: dispatch.steps_release(workspace=workspace), racers=4)
        jobs.work()
    assert UsageRecord.objects.filter(key__contains=":2:").exists(), "something was begun twice"
    for run in Run.objects.all():
        assert 0.5 * (run.cost_limit or 0) < run.cost_spent <= (run.cost_limit or 0)
    assert sum(UsageRecord.objects.values_list("nano", flat=True)) == Budget.objects.get().spent <= 20 * jobs.shard


def test_reserving_settling_and_reserving_again_race(workspace: Workspace) -> None:
    budget_of(workspace.owner, 1_000)
    owner = User.objects.get(pk=workspace.owner_id)
    runs = [Run.objects.create(owner=owner, workspace=workspace, name=f"{at}") for at in range(RACERS)]
    most: list[int] = []

    def turn(number: int) -> None:
        reservations.reserve(run=runs[number], most=100)
        most.append(Budget.objects.get().reserved)
        if number % 2:
            reservations.settle(run_id=runs[number].pk)

    raced(turn)
    assert max(most) <= 1_000
    kept = Reservation.objects.filter(state="open").aggregate(sum=Sum("amount"))["sum"] or 0
    assert Budget.objects.get().reserved == kept <= 1_000
