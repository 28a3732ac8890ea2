"""``python -m scripts.orca.bench.pages_scene RUNS``: fills the portal's empty database with a person who has so many
runs, and prints as JSON how to look at their pages and how many queries each page takes.

Runs in a process of its own with the portal's environment.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

django.setup()

from portal.accounts.models import User  # noqa: E402 (only after django.setup())
from portal.clouds.models import CloudAccount  # noqa: E402
from portal.pipelines.models import LogChunk, Run, Script, ScriptVersion, State, Step  # noqa: E402
from portal.pipelines.services import LIMITS  # noqa: E402
from portal.workspaces.models import Instance, Workspace  # noqa: E402

SCRIPTS = 5
LOG_LINES = 10_000
LINES_OF_A_CHUNK = 100
# The newest runs; all before them have ended, every tenth badly.
NEWEST = (State.QUEUED, State.QUEUED, State.RUNNING, State.RUNNING)


def main(runs: int) -> None:
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    call_command("migrate", interactive=False, verbosity=0)
    if not (settings.STATIC_ROOT / "staticfiles.json").is_file():
        call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=["redoc", "rest_framework"])
    owner = User.objects.create_user("ada@example.org", "correct-horse-battery-staple")
    made = _runs_make(owner, _workspace_make(owner), _scripts_make(owner), runs)
    quiet, long = made[len(made) // 2], made[0]
    _log_make(long.steps.get(), LOG_LINES)
    _log_make(quiet.steps.get(), LINES_OF_A_CHUNK)
    browser = Client()
    browser.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    pages = {
        "dashboard": reverse("dashboard"),
        "runs": reverse("run_list"),
        "run": reverse("run", args=[quiet.pk]),
        "run_log": reverse("run", args=[long.pk]),
    }
    shown = {
        "cookie": browser.cookies[settings.SESSION_COOKIE_NAME].value,
        "pages": pages,
        "queries": {name: _queries(browser, page) for name, page in pages.items()},
    }
    sys.stdout.write(json.dumps(shown) + "\n")


def _queries(browser: Client, page: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        answer = browser.get(page)
    if answer.status_code != 200:
        raise SystemExit(f"{page} answered {answer.status_code}.")
    return len(captured)


def _workspace_make(owner: User) -> Workspace:
    now = timezone.now()
    account = CloudAccount.objects.create(
        name="Orca", account_id="1" * 12, region="eu-central-1", role_arn="arn:aws:iam::1:role/orca", external_id="e"
    )
    workspace = Workspace.objects.create(
        owner=owner, name="Research", claimed_name="Research", cloud_account=account, state="ready", ready_at=now
    )
    Instance.objects.create(
        workspace=workspace, instance_id="i-1", state="running", public_ip="127.1.0.1", heartbeat_at=now
    )
    return workspace


def _scripts_make(owner: User) -> list[ScriptVersion]:
    names = [f"Script {number}" for number in range(1, SCRIPTS + 1)]
    scripts = [Script.objects.create(owner=owner, name=name, claimed_name=name) for name in names]
    return [
        ScriptVersion.objects.create(
            script=script,
            number=1,
            sha256="a" * 64,
            size=20,
            files=[{"path": "main.py", "size": 20}],
            entrypoint="main.py",
            runtime=ScriptVersion.Runtime.PYTHON,
        )
        for script in scripts
    ]


def _runs_make(owner: User, workspace: Workspace, versions: list[ScriptVersion], count: int) -> list[Run]:
    """The oldest first, a minute apart."""
    begin = timezone.now() - timedelta(minutes=count)
    runs, steps = [], []
    for number in range(count):
        version = versions[number % len(versions)]
        newest = number - (count - len(NEWEST))
        usual = State.FAILED if number % 10 == 9 else State.SUCCEEDED
        state = NEWEST[newest] if newest >= 0 else usual
        asked = begin + timedelta(minutes=number)
        started = None if state == State.QUEUED else asked
        ended = None if newest >= 0 else asked + timedelta(seconds=42)
        times = {"started_at": started, "finished_at": ended}
        common = {"workspace": workspace, "name": f"Run {number}", "state": state, **times}
        run = Run(owner=owner, script=version.script, **common)
        runs.append(run)
        steps.append(
            Step(
                run=run,
                version=version,
                attempt=1,
                executions=1,
                limits={name: default for name, (default, _, _) in LIMITS.items()},
                outputs=[{"path": f"table-{n}.csv", "size": 999, "content_type": "text/csv"} for n in range(3)],
                **common,
            )
        )
    Run.objects.bulk_create(runs, batch_size=500)
    Step.objects.bulk_create(steps, batch_size=500)
    for number, run in enumerate(runs):  # Django sets it to now when a row is made
        run.created_at = begin + timedelta(minutes=number)
    Run.objects.bulk_update(runs, ["created_at"], batch_size=500)
    return runs


def _log_make(step: Step, lines: int) -> None:
    LogChunk.objects.bulk_create(
        LogChunk(
            step=step,
            execution=1,
            first=first,
            count=LINES_OF_A_CHUNK,
            lines=[["out", 1.0, f"line {first + n}: what a script says"] for n in range(LINES_OF_A_CHUNK)],
        )
        for first in range(1, lines + 1, LINES_OF_A_CHUNK)
    )
    Step.objects.filter(pk=step.pk).update(log_lines=lines)


if __name__ == "__main__":
    Path(os.environ["ORCA_HOME"]).mkdir(parents=True, exist_ok=True)
    main(int(sys.argv[1]))
