"""Several processes on one database fire each slot once, whatever is killed; many slots of one second fire promptly."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from portal.accounts.models import User
from portal.core.ids import new_id
from portal.pipelines.models import Run, Script
from portal.schedules import firing
from portal.schedules.models import Fire, Lease, Schedule
from portal.workspaces.models import Workspace

pytestmark = pytest.mark.django_db(transaction=True)


def database_url() -> str:
    """The database of this test, for another process."""
    found: dict[str, Any] = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{found['NAME']}"
    host = f"{found['HOST'] or 'localhost'}:{found['PORT'] or 3306}"
    return f"mysql://{found['USER']}:{found['PASSWORD']}@{host}/{found['NAME']}"


Rival = subprocess.Popen[str]
RivalMaker = Callable[..., Rival]


@pytest.fixture
def rival() -> Iterator[RivalMaker]:
    """``rival("fire", seconds=3)``: a process that is ready and waits to be told to begin."""
    began: list[Rival] = []

    def make(mode: str, *, seconds: float) -> Rival:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.portal.schedules.rivals", mode, str(seconds)],
            env=os.environ | {"DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "portal.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        began.append(process)
        return process

    yield make
    for process in began:
        process.kill()
        process.communicate()


def ready(*rivals: Rival) -> None:
    """Wait until all of them are."""
    for process in rivals:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"


def begin(*rivals: Rival) -> None:
    """Let them all begin at once."""
    for process in rivals:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def many(
    owner: User, workspace: Workspace, script: Script, count: int, first: datetime, apart: timedelta = timedelta()
) -> None:
    """So many schedules for one moment, or for one a little later each, every minute from then."""
    Schedule.objects.bulk_create(
        Schedule(
            id=new_id(),
            owner=owner,
            name=f"schedule {number}",
            kind="interval",
            every=1,
            unit="minutes",
            at=first + number * apart,
            action="script",
            workspace=workspace,
            script=script,
            next_at=first + number * apart,
        )
        for number in range(count)
    )


def test_two_processes_fire_each_slot_once(
    rival: RivalMaker, owner: User, workspace: Workspace, script: Script
) -> None:
    rivals = [rival("fire", seconds=20) for _ in range(2)]
    ready(*rivals)
    many(owner, workspace, script, 200, timezone.now(), timedelta(seconds=0.05))
    begin(*rivals)
    fired = [int(process.communicate(timeout=60)[0]) for process in rivals]
    assert sum(fired) == 200
    assert all(fired), "only one of them did anything: this proved nothing"
    assert (Fire.objects.filter(state="fired").count(), Run.objects.count()) == (200, 200)
    assert Schedule.objects.filter(next_at__lte=timezone.now()).count() == 0


def test_one_that_is_killed_in_the_middle_loses_and_repeats_nothing(
    rival: RivalMaker, owner: User, workspace: Workspace, script: Script
) -> None:
    victim = rival("fire", seconds=60)
    ready(victim)
    many(owner, workspace, script, 300, timezone.now() - timedelta(seconds=1))
    begin(victim)
    while (done := Fire.objects.count()) < 50:
        assert victim.poll() is None
        time.sleep(0.01)
    victim.kill()
    victim.wait()
    assert done < 300
    assert Fire.objects.count() == Run.objects.count() < 300
    firing.schedules_fire()
    assert (Fire.objects.filter(state="fired").count(), Run.objects.count()) == (300, 300)


def test_two_beats_of_which_one_is_killed_fire_each_slot_once(
    rival: RivalMaker, owner: User, workspace: Workspace, script: Script
) -> None:
    beats = [rival("beat", seconds=14) for _ in range(2)]
    ready(*beats)
    begin_at = timezone.now().replace(microsecond=0) + timedelta(seconds=3)
    many(owner, workspace, script, 1, begin_at)
    Schedule.objects.update(every=1, unit="seconds")
    begin(*beats)
    while Fire.objects.count() < 3:
        time.sleep(0.05)
    Run.objects.update(state="succeeded")
    holder = int(Lease.objects.get().holder.split(":")[1])
    victim = next(process for process in beats if process.pid == holder)
    survivor = next(process for process in beats if process.pid != holder)
    victim.kill()
    while survivor.poll() is None:
        Run.objects.exclude(state="succeeded").update(state="succeeded")
        time.sleep(0.2)
    slots = sorted(Fire.objects.values_list("due_at", flat=True))
    assert slots == [begin_at + timedelta(seconds=number) for number in range(len(slots))]
    assert len(slots) >= 10
    assert set(Fire.objects.values_list("state", flat=True)) == {"fired"}
    assert Run.objects.count() == len(slots)


def test_a_thousand_schedules_of_one_second_all_fire(owner: User, workspace: Workspace, script: Script) -> None:
    many(owner, workspace, script, 1_000, timezone.now().replace(microsecond=0))
    began = time.monotonic()
    assert firing.schedules_fire() == 1_000
    took = time.monotonic() - began
    print(f"1,000 schedules fired in {took:.1f} s")
    assert (Fire.objects.filter(state="fired").count(), Run.objects.count()) == (1_000, 1_000)
    assert took < 60
