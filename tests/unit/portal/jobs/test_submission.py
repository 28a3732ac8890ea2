"""What is refused before a job is accepted, and what an accepted one looks like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from portal.accounts.models import User
from portal.core.errors import Conflict, Invalid, LimitReached
from portal.jobs import services
from portal.jobs.models import Job
from portal.pipelines.models import Run, ScriptVersion
from portal.workspaces.models import Instance, Workspace
from tests.unit.portal.jobs.conftest import ready_workspace

pytestmark = pytest.mark.django_db
Submit = Callable[..., Job]


def test_a_job_is_accepted_with_all_defaults(submitted: Submit, version: ScriptVersion) -> None:
    job = submitted(arguments=["--sigma", 3, True], budget="1.50", environment={"A": 1})
    assert (job.phase, job.state, job.nodes, job.budget) == ("searching", "queued", 1, 1_500_000_000)
    assert job.version == version
    assert job.definition["arguments"] == ["--sigma", "3", "true"]
    assert job.definition["retries"] == {"count": 1, "backoff_seconds": 5.0, "exit_codes": []}
    assert not job.run.steps.exists()


def test_what_a_job_is_said_to_cost_may_be_its_budget(submitted: Submit) -> None:
    assert submitted(budget="12.123456789").budget == 12_123_456_789


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("nodes", {"nodes": 0}),
        ("nodes", {"nodes": -1}),
        ("nodes", {"nodes": 1_000}),
        ("name", {"name": ""}),
        ("name", {"name": " "}),
        ("script", {"script": "nothing"}),
        ("version", {"version": 99}),
        ("workspace", {"workspace": "elsewhere"}),
        ("data", {"data": None}),
        ("data", {"input_job": "x" * 26}),
        ("wrong", {"wrong": 1}),
        ("shards.by", {"shards": {"by": 3}}),
        ("shards.number", {"shards": {"number": 10**9}}),
        ("shards.most_mb", {"shards": {"by": "path", "most_mb": 1}}),
        ("container", {"container": {}}),
        ("container", {"container": {"image": "orca/python", "dockerfile": "Dockerfile"}}),
        ("container.dockerfile", {"container": {"dockerfile": "Dockerfile"}}),
        ("container.image", {"container": {"image": "Bad Image"}}),
        ("limits", {"limits": {"seconds": 0}}),
        ("environment", {"environment": {"AWS_KEY": "x"}}),
        ("secrets", {"secrets": ["MISSING"]}),
        ("retries.count", {"retries": {"count": 99}}),
        ("budget", {"budget": "a lot"}),
        ("budget", {"budget": "0.00"}),
        ("budget", {"budget": -1}),
        ("keep_days", {"keep_days": 0}),
    ],
)
def test_what_is_wrong_is_named(field: str, given: dict[str, Any], submitted: Submit) -> None:
    with pytest.raises(Invalid) as caught:
        submitted(**given)
    assert field in caught.value.fields
    assert not Job.objects.exists()
    assert not Run.objects.exists()


def test_an_input_job_has_to_be_there(owner: User, version: ScriptVersion) -> None:
    with pytest.raises(Invalid) as caught:
        services.job_submit(owner=owner, submission={"name": "a", "script": "hello", "input_job": "x" * 26})
    assert set(caught.value.fields) == {"input_job"}


def test_the_quota_is_named(submitted: Submit, settings: Settings) -> None:
    settings.QUOTA = {**settings.QUOTA, "nodes": 5}
    with pytest.raises(Invalid, match="From 1 to 5"):
        submitted(nodes=6)
    assert submitted(nodes=5).nodes == 5


def test_there_are_only_so_many_jobs_at_a_time(submitted: Submit, settings: Settings) -> None:
    settings.MAX_OPEN_JOBS = 1
    submitted()
    with pytest.raises(LimitReached):
        submitted()


def test_of_several_workspaces_one_is_named(submitted: Submit, owner: User, workspace: Workspace) -> None:
    ready_workspace(owner, workspace.cloud_account, name="other")
    with pytest.raises(Invalid) as caught:
        submitted()
    assert "lab" in caught.value.fields["workspace"]
    assert submitted(workspace="other").workspace.name == "other"


def test_a_container_needs_an_engine_on_every_instance(submitted: Submit, owner: User, workspace: Workspace) -> None:
    made = [
        Instance.objects.create(workspace=workspace, instance_id=f"i-{state}", engine=engine, state=state)
        for engine, state in (("ready", "running"), ("", "pending"), ("none", "stopped"), ("none", "terminated"))
    ]
    with pytest.raises(Conflict) as caught:
        submitted(container={"image": "orca/python"})
    assert (caught.value.code, list(caught.value.fields)) == ("container_unavailable", ["container"])
    assert "no Docker engine on i-stopped." in caught.value.message
    assert "apply it again" in caught.value.hint
    plain = submitted()
    Workspace.objects.filter(pk=workspace.pk).update(nodes_leaving=["i-stopped"])
    job = submitted(container={"image": "orca/python"})
    Workspace.objects.filter(pk=workspace.pk).update(nodes_leaving=[])
    for each in (plain, job):
        services.job_cancel(job=each, by=owner)
        Job.objects.filter(pk=each.pk).update(phase="ended")
        each.refresh_from_db()
    services.job_retry(job=plain, by=owner)
    with pytest.raises(Conflict, match="no Docker engine"):
        services.job_retry(job=job, by=owner)
    made[2].delete()
    services.job_retry(job=job, by=owner)


def test_by_the_api_and_once_for_a_key(api: APIClient, version: ScriptVersion, sky: list[Any]) -> None:
    body = {"name": "blur", "script": "hello", "data": {"urls": []}}
    first = api.post("/api/v1/jobs/", body, headers={"Idempotency-Key": "k"})
    again = api.post("/api/v1/jobs/", body, headers={"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert Job.objects.count() == 1
    job = Job.objects.get()
    assert api.get(f"/api/v1/jobs/{job.pk}/").json()["progress"]["shards"] == 0
    assert [found["id"] for found in api.get("/api/v1/jobs/").json()["results"]] == [job.pk]
    assert api.get(f"/api/v1/jobs/{job.pk}/archive/").status_code == 404
    assert api.get(f"/api/v1/jobs/{job.pk}/shards/").json()["results"] == []


def test_a_body_that_is_no_job(api: APIClient, workspace: Workspace) -> None:
    assert api.post("/api/v1/jobs/", [1]).status_code == 422
    refused = api.post("/api/v1/jobs/", {"nodes": 1_000})
    assert refused.status_code == 422
    assert set(refused.json()["fields"]) >= {"name", "script"}


def test_the_schema_is_published(api: APIClient) -> None:
    assert api.get("/api/v1/jobs/schema/").json()["title"] == "A job of Orca"
