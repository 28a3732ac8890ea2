"""``python -m scripts.orca.bench.statement_scene RECORDS TURNS``: fills the portal's empty database with so many usage
records of one person in one month, then prints as JSON how long each of so many statements of that month took.

Runs in a process of its own with the portal's environment.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import F
from django.test import Client
from django.urls import reverse

django.setup()

from portal.accounts.models import User  # noqa: E402 (only after django.setup())
from portal.clouds.models import CloudAccount  # noqa: E402
from portal.usage.models import Kind, UsageDay, UsageRecord  # noqa: E402
from portal.usage.services import records_add  # noqa: E402
from portal.usage.statements import statement_of  # noqa: E402
from portal.workspaces.models import Workspace  # noqa: E402

MONTH = date(2026, 1, 1)
LOT = 500
FIRST = 20_000
SCRIPTS = 20
KINDS = (Kind.COMPUTE, Kind.INGRESS, Kind.SENT, Kind.IDLE)


def main(records: int, turns: int) -> None:
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=["redoc", "rest_framework"])
    owner = User.objects.create_user("ada@example.org", "correct-horse-battery-staple")
    workspaces = _workspaces(owner)
    first = min(records, FIRST)
    began = time.perf_counter()
    for start in range(0, first, LOT):
        with transaction.atomic():
            records_add(records=list(_records(owner, workspaces, range(start, min(start + LOT, first)))))
    written = first / (time.perf_counter() - began)
    _multiplied(records // first)
    if UsageRecord.objects.count() != records:
        raise SystemExit("Not all records were written.")
    made = [_timed(owner) for _ in range(turns)]
    browser = Client()
    browser.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    shown = [_page(browser) for _ in range(turns + 1)][1:]
    rows = UsageDay.objects.filter(owner=owner).count()
    found = {"records_per_s": written, "made_ms": made, "page_ms": shown, "days": rows}
    sys.stdout.write(json.dumps(found) + "\n")


@transaction.atomic
def _multiplied(times: int) -> None:
    """Each record so many times, and the days' sums with them: a million one by one would take most of the time."""
    columns = [field.column for field in UsageRecord._meta.concrete_fields]
    ours: dict[str | None, str] = {"id": "printf('%018d%08d', rowid, n)", "key": "key || ':' || n"}
    taken = ", ".join(ours.get(column, f'"{column}"') for column in columns)
    named = ", ".join(f'"{column}"' for column in columns)
    table = UsageRecord._meta.db_table
    several = "WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < %s)"
    with connection.cursor() as cursor:
        if times > 1:
            # Only names of our own columns are in it.
            cursor.execute(
                f"INSERT INTO {table} ({named}) {several} SELECT {taken} FROM {table}, counted",  # noqa: S608
                [times - 1],
            )
    UsageDay.objects.update(quantity=F("quantity") * times, nano=F("nano") * times, records=F("records") * times)


def _timed(owner: User) -> float:
    began = time.perf_counter()
    statement = statement_of(owner, MONTH)
    took = 1000 * (time.perf_counter() - began)
    if statement.used <= 0:
        raise SystemExit("The statement is empty.")
    return took


def _page(browser: Client) -> float:
    began = time.perf_counter()
    answer = browser.get(reverse("statement", args=[f"{MONTH:%Y-%m}"]))
    if answer.status_code != 200:
        raise SystemExit(f"The statement's page answered {answer.status_code}.")
    return 1000 * (time.perf_counter() - began)


def _workspaces(owner: User) -> list[Workspace]:
    account = CloudAccount.objects.create(
        name="Orca", account_id="1" * 12, region="eu-central-1", role_arn="arn:aws:iam::1:role/orca", external_id="e"
    )
    names = ["One", "Two"]
    made = [Workspace(owner=owner, name=name, claimed_name=name, cloud_account=account) for name in names]
    return Workspace.objects.bulk_create(made)


def _records(owner: User, workspaces: list[Workspace], numbers: range) -> Iterator[UsageRecord]:
    """Spread over all days of the month, the kinds, the workspaces and some scripts."""
    for number in numbers:
        at = datetime(MONTH.year, MONTH.month, MONTH.day, tzinfo=UTC) + timedelta(seconds=2 * number % (31 * 86_400))
        yield UsageRecord(
            owner=owner,
            workspace=workspaces[number % len(workspaces)],
            script=f"script-{number // 7 % SCRIPTS}",
            kind=KINDS[number // 3 % len(KINDS)],
            quantity=1_000,
            unit="ms",
            rate=12_000,
            nano=12_000,
            began_at=at,
            ended_at=at + timedelta(seconds=1),
            day=at.date(),
            key=f"bench:{number}",
        )


if __name__ == "__main__":
    Path(os.environ["ORCA_HOME"]).mkdir(parents=True, exist_ok=True)
    main(int(sys.argv[1]), int(sys.argv[2]))
