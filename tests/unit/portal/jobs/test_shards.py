"""From the search to the shards: nothing missing, nothing double, whoever is killed in between."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import boto3
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from portal.accounts.models import User
from portal.core.errors import CloudFault, Conflict
from portal.jobs import finding, phases, services, shards, work
from portal.jobs.models import Job
from portal.jobs.phases import Lost, claimed
from portal.pipelines.again import run_again
from portal.pipelines.models import Run, Step
from portal.pipelines.progress import run_go_on
from portal.pipelines.services import run_cancel
from portal.workspaces.models import Workspace
from tests.unit.portal.jobs.conftest import Agent, Found, shard_end
from tests.unit.portal.pipelines.conftest import queued_tasks

pytestmark = pytest.mark.django_db
Make = Callable[..., Job]


def manifest(job: Job) -> bytes:
    body: bytes = boto3.client("s3").get_object(Bucket=job.workspace.bucket, Key=job.manifest_key)["Body"].read()
    return body


def steps(job: Job) -> list[Step]:
    return list(Step.objects.filter(run=job.run_id).order_by("position"))


def test_a_job_is_searched_split_and_handed_out(split: Make, workspace: Workspace) -> None:
    job = split(shards={"most_items": 1}, environment={"A": "1"}, arguments=["x"], limits={"seconds": 5})
    assert (job.phase, job.items, job.bytes, job.shards) == ("running", 3, 6, 3)
    text = manifest(job)
    assert hashlib.sha256(text).hexdigest() == job.manifest_sha256
    assert [step.name for step in steps(job)] == ["shard 1", "shard 2", "shard 3"]
    assert {step.lane for step in steps(job)} == {step.pk for step in steps(job)}
    tasks: list[Any] = queued_tasks(workspace)
    assert len(tasks) == 3
    for number, task in enumerate(sorted(tasks, key=lambda task: task.name), 1):
        data = task.data
        assert json.loads(text[data.offset : data.offset + data.length])["id"] == f"scene-{number}"
        assert task.environment == {
            "A": "1",
            "ORCA_SHARD": str(number),
            "ORCA_SHARDS": "3",
            "ORCA_ITEMS": "1",
        }


def test_nothing_found_fails_with_what_to_do(split: Make, sky: list[Found]) -> None:
    sky.clear()
    job = split()
    assert (job.phase, job.state, job.reason) == ("ended", "failed", "nothing_found")
    assert "Nothing was found" in job.message


def test_too_many_items_name_the_limit(split: Make, settings: Settings) -> None:
    settings.MAX_ITEMS = 2
    job = split()
    assert (job.state, job.reason) == ("failed", "too_many_items")
    assert "more than 2 items" in job.message


def test_a_search_that_meets_a_fault_is_taken_up_again(
    split: Make, monkeypatch: pytest.MonkeyPatch, sky: list[Found]
) -> None:
    found = finding.items_found

    def broken(job: Job, alive: Any) -> Any:
        raise CloudFault("Not now.", retryable=True)

    monkeypatch.setattr(finding, "items_found", broken)
    job = split()
    assert (job.phase, job.claim) == ("searching", "")
    monkeypatch.setattr(finding, "items_found", found)
    assert work.job_work(job_id=job.pk) == "searching", "there is a pause first"
    Job.objects.filter(claimed_until__lt=timezone.now() + timedelta(seconds=11)).update(claimed_until=None)
    assert work.job_work(job_id=job.pk) == "running"


def test_a_search_that_never_gets_through_fails(split: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(job: Job, alive: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(finding, "items_found", broken)
    job = split()
    for _ in range(phases.MOST_CLAIMS):
        work.job_work(job_id=job.pk)
    job.refresh_from_db()
    assert (job.phase, job.state, job.reason) == ("ended", "failed", "internal")


def test_killed_while_splitting_no_shard_is_missing_or_double(
    submitted: Make, sky: list[Found], monkeypatch: pytest.MonkeyPatch
) -> None:
    sky[:] = [Found(f"scene-{number}") for number in range(23)]
    monkeypatch.setattr(shards, "LOT", 5)
    added = shards._added
    killed: list[str] = []

    def dying(job: Job, lot: Any) -> None:
        added(job, lot)
        if len(killed) < 3:
            killed.append(job.claim)
            raise KeyboardInterrupt

    monkeypatch.setattr(shards, "_added", dying)
    job = submitted(shards={"most_items": 1})
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            work.job_work(job_id=job.pk)
        assert claimed(job.pk) is None, "its lease holds"
        assert Step.objects.filter(run=job.run_id).exists()
        assert not Step.objects.filter(run=job.run_id, released_at__isnull=False).exists()
        Job.objects.filter(pk=job.pk).update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert work.job_work(job_id=job.pk) == "running"
    assert [step.position for step in steps(job)] == list(range(1, 24))


def test_who_has_lost_the_claim_adds_no_shard(submitted: Make, sky: list[Found]) -> None:
    job = submitted()
    late = claimed(job.pk)
    assert late is not None
    Job.objects.filter(pk=job.pk).update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert work.job_work(job_id=job.pk) == "running"
    count = Step.objects.count()
    with pytest.raises(Lost):
        shards._added(late, [Step(run_id=job.run_id, workspace_id=job.workspace_id, version_id=job.version_id)])
    assert Step.objects.count() == count


def test_two_workers_race_for_a_claim_and_one_gets_it(submitted: Make) -> None:
    job = submitted()
    assert claimed(job.pk) is not None
    assert claimed(job.pk) is None


def test_the_sweep_takes_up_what_nobody_works_on(submitted: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    job, sent = submitted(), []
    monkeypatch.setattr(work, "enqueue", lambda task, *arguments: sent.append(arguments))
    assert work.jobs_sweep() == 1
    assert claimed(job.pk) is not None
    assert work.jobs_sweep() == 0
    assert sent == [(job.pk,)]


def test_cancelled_before_it_was_searched(submitted: Make, owner: User) -> None:
    job = submitted()
    services.job_cancel(job=job, by=owner)
    assert (job.phase, job.state) == ("ended", "cancelled")
    assert work.job_work(job_id=job.pk) == "ended"
    assert not Step.objects.exists()


def test_cancelled_in_the_middle_of_the_search(submitted: Make, owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submitted()

    def items(found: Job, alive: Any) -> Any:
        yield Found("a")
        services.job_cancel(job=Job.objects.get(pk=found.pk), by=owner)
        yield Found("b")

    monkeypatch.setattr(finding, "items_found", items)
    work.job_work(job_id=job.pk)
    job.refresh_from_db()
    assert (job.phase, job.state, job.shards) == ("ended", "cancelled", 0)
    assert not Step.objects.exists()


def test_a_failed_shard_is_tried_again_when_it_is_due(split: Make, agent: Agent, workspace: Workspace) -> None:
    workspace.instances.update(slots=9)
    job = split(shards={"most_items": 1}, retries={"count": 1, "backoff_seconds": 60})
    first, second, _ = steps(job)
    agent.say(agent.started(second))
    shard_end(agent, first, "failed", exit_code=1)
    first.refresh_from_db()
    assert (first.state, first.attempt) == ("waiting", 1)
    run_go_on(run_id=job.run_id)
    first.refresh_from_db()
    assert first.state == "waiting", "it is not due yet"
    Step.objects.filter(pk=first.pk).update(retry_at=timezone.now())
    run_go_on(run_id=job.run_id)
    first.refresh_from_db()
    assert (first.state, first.retry_at) == ("queued", None)


def test_a_run_that_is_stopped_ends_its_job_too(submitted: Make, owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submitted()

    def items(found: Job, alive: Any) -> Any:
        run_cancel(run=Run.objects.get(pk=found.run_id), by=owner)
        alive._due = 0
        yield Found("a")

    monkeypatch.setattr(finding, "items_found", items)
    assert work.job_work(job_id=job.pk) == "lost"
    assert work.job_work(job_id=job.pk) == "ended"
    job.refresh_from_db()
    assert (job.phase, job.state) == ("ended", "cancelled")


def test_the_run_of_a_job_is_not_run_again_by_itself(split: Make, owner: User) -> None:
    job = split()
    services.job_cancel(job=job, by=owner)
    with pytest.raises(Conflict):
        run_again(run=job.run, by=owner)


def test_no_more_shards_are_out_than_the_nodes_have_slots_for(
    split: Make, sky: list[Found], workspace: Workspace
) -> None:
    sky[:] = [Found(f"scene-{number}") for number in range(40)]
    workspace.instances.update(slots=50)
    job = split(shards={"most_items": 1}, nodes=1)
    assert Run.objects.get(pk=job.run_id).at_once == 2 * workspace.slots
    assert Step.objects.filter(run=job.run_id, released_at__isnull=False).count() == 2 * workspace.slots


def test_ten_thousand_shards_are_accepted_and_split_with_few_queries(
    submitted: Make, sky: list[Found], workspace: Workspace
) -> None:
    sky[:] = [Found(f"scene-{number}") for number in range(10_000)]
    with CaptureQueriesContext(connection) as accepting:
        job = submitted(shards={"most_items": 1})
    assert len(accepting) < 40
    with CaptureQueriesContext(connection) as splitting:
        work.job_work(job_id=job.pk)
    assert len(splitting) < 700  # SQLite takes about twenty rows in one
    job.refresh_from_db()
    assert (job.phase, job.shards) == ("running", 10_000)
    assert Step.objects.filter(run=job.run_id).values("position").distinct().count() == 10_000
