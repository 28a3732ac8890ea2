"""Racing runs can never set aside more than the budget has: real threads, each with a connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.db.models import Sum

from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.core.errors import LimitReached
from portal.pipelines import services
from portal.pipelines.models import Run, ScriptVersion
from portal.usage import bounds, reservations
from portal.usage.models import Budget, Reservation
from portal.workspaces.models import Workspace
from tests.people import person
from tests.unit.portal.pipelines.conftest import ready_workspace
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
