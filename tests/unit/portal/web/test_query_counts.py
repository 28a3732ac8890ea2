"""No page and no list of the API asks the database more often because there is more to show."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from portal.accounts.models import User
from portal.accounts.services import api_token_add
from portal.pipelines.models import Run, Script, ScriptVersion
from portal.workspaces.models import Instance, TerraformLine, Workspace

from .conftest import RunMaker, WorkspaceMaker, log_grown, terraform_run_made
from .pipelines_made import PipelineMaker, PipelineRunMaker, pipeline_made, pipeline_run_made

__all__ = ["pipeline_made", "pipeline_run_made"]
pytestmark = pytest.mark.django_db

MORE = 30
STATES = ("succeeded", "failed", "running", "queued", "cancelled", "lost", "timed_out")


@pytest.fixture(autouse=True)
def _no_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are shown from the bucket, which has nothing to do with the database."""
    monkeypatch.setattr("portal.web.views.scripts.file_text", lambda version, path: "print()")


def queries(client: Any, address: str) -> list[str]:
    """Of the second time: at the first of a minute, a token's use is noted."""
    client.get(address)
    with CaptureQueriesContext(connection) as seen:
        answer = client.get(address)
    assert answer.status_code == 200, address
    return [query["sql"] for query in seen.captured_queries]


def run_grown(run: Run) -> None:
    """More of all that a run can have."""
    step = run.steps.get()
    for first in range(2, 50 * MORE, MORE):
        log_grown(step, [["out", f"line {number}"] for number in range(MORE)], first=first)
    step.outputs = [{"path": f"{n}.csv", "size": 9, "content_type": "text/csv"} for n in range(MORE)]
    step.save(update_fields=["outputs"])


def belongings_grown(owner: User, version: ScriptVersion, run_made: RunMaker, workspace_made: WorkspaceMaker) -> None:
    """More of all that a person can have: runs of every state, scripts, versions, workspaces, instances, tokens."""
    first = version.script
    workspace = Workspace.objects.get(owner=owner, name="Lab")
    for number in range(MORE):
        run_made(STATES[number % len(STATES)], name=f"Run {number}", lines=[["out", "hello"]])
        workspace_made(name=f"Lab {number}")
        name = f"Script {number}"
        script = Script.objects.create(owner=owner, name=name, claimed_name=name)
        for where, at in ((script, 1), (first, number + 2)):
            ScriptVersion.objects.create(
                script=where,
                number=at,
                sha256="a" * 64,
                size=1,
                files=version.files,
                entrypoint="main.py",
                runtime="python",
                uploaded_by=owner,
            )
        Instance.objects.create(
            workspace=workspace, instance_id=f"i-more-{number}", state="running", heartbeat_at=timezone.now()
        )
        ended = terraform_run_made(workspace, "failed", requested_by=owner)
        TerraformLine.objects.create(run=ended, number=1, at=timezone.now(), text="said")
        api_token_add(owner=owner, name=f"Token {number}")


def test_no_page_asks_more_often_for_more(
    browser: Client, owner: User, version: ScriptVersion, run_made: RunMaker, workspace_made: WorkspaceMaker
) -> None:
    run = run_made(lines=[["out", "hello"]], outputs=[{"path": "a.csv", "size": 9, "content_type": "text/csv"}])
    running = run_made("running", lines=[["out", "hello"]])
    terraform_run = terraform_run_made(run.workspace, "failed", requested_by=owner)
    TerraformLine.objects.create(run=terraform_run, number=1, at=timezone.now(), text="said")
    pages = [
        "/",
        reverse("run_list"),
        reverse("run_list") + "?state=failed&q=Weather",
        reverse("run", args=[run.pk]),
        reverse("run", args=[running.pk]),
        reverse("script_list"),
        reverse("script", args=[version.script_id]),
        reverse("workspace_list"),
        reverse("workspace", args=[run.workspace_id]),
        reverse("terraform_run", args=[terraform_run.pk]),
        reverse("account"),
    ]
    few = {page: len(queries(browser, page)) for page in pages}
    belongings_grown(owner, version, run_made, workspace_made)
    run_grown(run)
    for page in pages:
        many = queries(browser, page)
        assert len(many) == few[page], f"{page}:\n" + "\n".join(many)
    assert max(few.values()) <= 13, few


@pytest.mark.parametrize("name", ["api_runs", "api_scripts", "api_workspaces", "api_tokens", "api_ssh_keys"])
def test_no_list_of_the_api_asks_more_often_for_more(
    api: APIClient,
    owner: User,
    version: ScriptVersion,
    run_made: RunMaker,
    workspace_made: WorkspaceMaker,
    name: str,
) -> None:
    run_made()
    address = reverse(name)
    few = len(queries(api, address))
    belongings_grown(owner, version, run_made, workspace_made)
    many = queries(api, address)
    assert len(many) == few, "\n".join(many)
    assert few <= 6


def test_one_object_of_the_api_costs_the_same_however_much_it_holds(
    api: APIClient, owner: User, version: ScriptVersion, run_made: RunMaker, workspace_made: WorkspaceMaker
) -> None:
    run = run_made(lines=[["out", "hello"]])
    addresses = [
        reverse("api_run", args=[run.pk]),
        reverse("api_step_log", args=[run.pk, run.steps.get().pk]),
        reverse("api_script", args=[version.script_id]),
        reverse("api_script_versions", args=[version.script_id]),
        reverse("api_workspace", args=[run.workspace_id]),
    ]
    few = {address: len(queries(api, address)) for address in addresses}
    belongings_grown(owner, version, run_made, workspace_made)
    run_grown(run)
    assert {address: len(queries(api, address)) for address in addresses} == few


def fan(steps: int) -> str:
    rows = "".join(f"  - {{name: s{n}, script: Weather, needs: [s0], retries: 1}}\n" for n in range(1, steps))
    return "name: fan\nworkspace: Lab\nsteps:\n  - {name: s0, script: Weather}\n" + rows


def test_pages_of_pipelines_cost_the_same_however_many_steps_runs_and_versions(
    browser: Client, pipeline_made: PipelineMaker, pipeline_run_made: PipelineRunMaker
) -> None:
    small = pipeline_run_made({"s0": "succeeded", "s1": "failed"}, state="failed", source=fan(2))
    pages = [
        reverse("pipeline_list"),
        reverse("pipeline", args=[small.pipeline_id]),
        reverse("pipeline_edit", args=[small.pipeline_id]),
        reverse("run_list"),
        "/",
    ]
    few = {page: len(queries(browser, page)) for page in pages}
    of_run = len(queries(browser, reverse("run", args=[small.pk])))
    outputs = [{"path": f"{n}.csv", "size": 9, "content_type": "text/csv"} for n in range(MORE)]
    for number in range(MORE):
        pipeline_made(fan(2).replace("fan", f"fan-{number}"))
    states = {f"s{n}": STATES[n % len(STATES)] for n in range(1, MORE)} | {"s0": "succeeded"}
    more = {"s1": {"tries": [tried(n) for n in range(1, 5)]}, "s0": {"outputs": outputs}}
    large = pipeline_run_made(states, state="failed", source=fan(MORE), more=more)
    for _ in range(MORE):
        pipeline_run_made({"s0": "succeeded", "s1": "failed"}, state="failed", source=fan(2))
    for page in pages:
        many = queries(browser, page)
        assert len(many) == few[page], f"{page}:\n" + "\n".join(many)
    many = queries(browser, reverse("run", args=[large.pk]))
    assert len(many) == of_run, "\n".join(many)
    assert max(*few.values(), of_run) <= 14, (few, of_run)


def tried(number: int) -> dict[str, Any]:
    now = timezone.now().isoformat()
    return {
        "attempt": number,
        "execution": number,
        "state": "failed",
        "exit_code": 1,
        "message": "",
        "started_at": now,
        "finished_at": now,
        "log_lines": 1,
    }
