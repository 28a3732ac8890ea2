"""A clock that a test sets, a workspace and a script as rows, and schedules of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.pipelines.models import Script, ScriptVersion
from portal.schedules.models import Schedule
from portal.schedules.services import schedule_create
from portal.schedules.targets import Target
from portal.schedules.timing import Timing
from portal.workspaces.models import Workspace

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Clock:
    """What time it is for Orca."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def set(self, *moment: int) -> None:
        self.now = datetime(*moment, tzinfo=UTC)  # type: ignore[misc,arg-type]

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(timezone, "now", found)
    return found


@pytest.fixture
def workspace(owner: User) -> Workspace:
    """Stopped, so that what runs in it waits and no cloud is asked."""
    account = CloudAccount.objects.create(
        name="Orca", account_id="1" * 12, region="eu-central-1", role_arn="arn:aws:iam::1:role/x", external_id="e"
    )
    return Workspace.objects.create(owner=owner, name="lab", claimed_name="lab", cloud_account=account, state="stopped")


@pytest.fixture
def script(owner: User) -> Script:
    found = Script.objects.create(owner=owner, name="hello", claimed_name="hello")
    files = [{"path": "main.py", "size": 1}]
    ScriptVersion.objects.create(
        script=found, number=1, sha256="a" * 64, size=1, files=files, entrypoint="main.py", runtime="python"
    )
    return found


ScheduleMaker = Callable[..., Schedule]


@pytest.fixture
def scheduled(owner: User, workspace: Workspace, script: Script) -> ScheduleMaker:
    """``scheduled("30 2 * * *", zone="UTC")``, ``scheduled(every=5, unit="minutes")``, ``scheduled(at=…)``."""

    def make(
        expression: str = "", *, name: str = "mine", missed: str = "", target: Any = None, **when: Any
    ) -> Schedule:
        kind = "cron" if expression else "interval" if "every" in when else "once"
        return schedule_create(
            owner=owner,
            name=name,
            timing=Timing(kind, expression=expression, **when),
            target=target or Target("script", workspace=workspace.pk, script=script.pk),
            missed=missed,
        )

    return make
