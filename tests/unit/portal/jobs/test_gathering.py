"""What came out of the shards: under one prefix, with an index, as one archive; deleted when its time has come."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import boto3
import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from portal.accounts.models import User
from portal.core.errors import CloudFault, Conflict, Invalid
from portal.jobs import archive, expiry, finding, services, work
from portal.jobs.models import Job
from portal.notices.content import body_of
from portal.notices.models import Notice, Subscription
from portal.pipelines.models import Run, Step
from portal.usage.models import Kind, UsageRecord
from portal.workspaces.models import Workspace
from tests.unit.portal.jobs.conftest import Agent, Found, ready_workspace, shard_end

pytestmark = pytest.mark.django_db
Make = Callable[..., Job]


def content(job: Job, rest: str) -> bytes:
    key = job.key(rest)
    body: bytes = boto3.client("s3").get_object(Bucket=job.workspace.bucket, Key=key)["Body"].read()
    return body


def keys(workspace: Workspace, prefix: str) -> list[str]:
    found = boto3.client("s3").list_objects_v2(Bucket=workspace.bucket, Prefix=prefix).get("Contents", [])
    return [each["Key"].removeprefix(prefix) for each in found]


def shards(job: Job) -> list[Step]:
    return list(Step.objects.filter(run=job.run_id).order_by("position", "created_at"))


@pytest.fixture
def gathered(split: Make, agent: Agent, workspace: Workspace) -> Job:
    """Three shards of one item each; the last one fails."""
    workspace.instances.update(slots=9)
    job = split(shards={"most_items": 1}, retries={"count": 0})
    one, two, three = shards(job)
    shard_end(agent, one, files={"scene-1/small.png": b"1", "log.csv": b"one"})
    shard_end(agent, two, files={"scene-2_blurred.png": b"22", "log.csv": b"two", ".orca-items.json": b"{}"})
    shard_end(agent, three, "failed", files={"half.png": b"half"}, exit_code=1)
    work.job_work(job_id=job.pk)
    job.refresh_from_db()
    return job


def test_outputs_lie_under_one_prefix(gathered: Job, workspace: Workspace) -> None:
    assert (gathered.phase, gathered.state) == ("ended", "failed")
    assert (gathered.output_files, gathered.output_bytes) == (4, 9)
    assert keys(workspace, gathered.key("outputs/")) == [
        "scene-1/small.png",
        "scene-2_blurred.png",
        "shard-00001/log.csv",
        "shard-00002/log.csv",
    ]
    assert gathered.expires_at is not None
    assert timedelta(days=29) < gathered.expires_at - timezone.now() < timedelta(days=31)


def test_a_job_whose_budget_is_reached_says_so_and_keeps_what_it_has(split: Make, agent: Agent) -> None:
    job = split(shards={"most_items": 1}, retries={"count": 0})
    one = shards(job)[0]
    Run.objects.filter(pk=job.run_id).update(cost_limit=10, cost_of_step=20, cost_spent=0)
    Step.objects.filter(run=job.run_id).exclude(pk=one.pk).update(released_at=None)
    shard_end(agent, one, files={"scene-1/small.png": b"1"})
    work.job_work(job_id=job.pk)
    job.refresh_from_db()
    assert (job.phase, job.reason, job.output_files) == ("ended", "budget_reached", 1)
    assert job.message.startswith("The budget is reached: ")


def test_what_orca_reads_for_the_archive_is_told_from_data_out(gathered: Job) -> None:
    read = UsageRecord.objects.get(kind=Kind.FETCHED)
    assert (read.quantity, read.nano, read.run_id, read.script) == (9, 0, gathered.run_id, "")


def test_the_index_says_which_item_gave_which_file(gathered: Job) -> None:
    index = json.loads(content(gathered, "index.json"))
    assert index["items"] == {
        "scene-1": ["scene-1/small.png", "shard-00001/log.csv"],
        "scene-2": ["scene-2_blurred.png", "shard-00002/log.csv"],
    }
    assert index["files"][0]["shard"] == 1
    assert index["files"][0]["size"] == 1
    rows = list(csv.DictReader(io.StringIO(content(gathered, "index.csv").decode())))
    assert [row["path"] for row in rows] == [file["path"] for file in index["files"]]
    assert rows[0]["item"] == "scene-1"


def test_the_archive_holds_every_file(gathered: Job, api: APIClient) -> None:
    found = zipfile.ZipFile(io.BytesIO(content(gathered, "archive.zip")))
    assert found.testzip() is None
    assert found.read("scene-2_blurred.png") == b"22"
    assert len(found.namelist()) == 4
    assert gathered.archive_bytes == len(content(gathered, "archive.zip"))
    for name in ("archive", "outputs", "items"):
        link = api.get(f"/api/v1/jobs/{gathered.pk}/{name}/").json()["url"]
        assert gathered.workspace.bucket in link


def test_a_large_file_streams_into_the_archive(split: Make, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_SMALL", 10)
    job = split(shards={"number": 1})
    shard_end(agent, shards(job)[0], files={"large.bin": b"x" * 100_000, "empty": b"", "small": b"1"})
    work.job_work(job_id=job.pk)
    found = zipfile.ZipFile(io.BytesIO(content(job, "archive.zip")))
    assert {info.filename: info.file_size for info in found.infolist()} == {
        "large.bin": 100_000,
        "empty": 0,
        "small": 1,
    }


def test_gathering_that_is_killed_is_done_again(
    split: Make, agent: Agent, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = split(shards={"number": 1})
    shard_end(agent, shards(job)[0], files={"a.txt": b"a"})

    def killed(*_: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("portal.jobs.gathering.archived", killed)
        with pytest.raises(KeyboardInterrupt):
            work.job_work(job_id=job.pk)
    Job.objects.filter(pk=job.pk).update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert work.job_work(job_id=job.pk) == "ended"
    job.refresh_from_db()
    assert (job.output_files, keys(workspace, job.key("outputs/"))) == (1, ["a.txt"])


def test_a_cancelled_job_keeps_what_came_out_so_far(
    split: Make, agent: Agent, workspace: Workspace, owner: User
) -> None:
    workspace.instances.update(slots=9)
    job = split(shards={"most_items": 1})
    one, two, three = shards(job)
    shard_end(agent, one, files={"a.txt": b"a"})
    services.job_cancel(job=job, by=owner)
    for step in (two, three):
        shard_end(agent, step, "cancelled")
    work.job_work(job_id=job.pk)
    job.refresh_from_db()
    assert (job.phase, job.state, job.output_files) == ("ended", "cancelled", 1)


def test_failed_shards_are_tried_again_alone(
    gathered: Job, agent: Agent, owner: User, workspace: Workspace, django_capture_on_commit_callbacks: Any
) -> None:
    first = gathered.run_id
    with django_capture_on_commit_callbacks(execute=True):
        services.job_retry(job=gathered, by=owner)
        work.job_work(job_id=gathered.pk)
    gathered.refresh_from_db()
    assert gathered.run_id != first
    assert Run.objects.get(pk=gathered.run_id).again_of_id == first
    again = shards(gathered)
    assert [step.state for step in again] == ["succeeded", "succeeded", "queued"]
    assert again[2].data == Step.objects.get(run=first, position=3).data
    shard_end(agent, again[2], files={"scene-3.png": b"333"})
    work.job_work(job_id=gathered.pk)
    gathered.refresh_from_db()
    assert (gathered.phase, gathered.state, gathered.output_files) == ("ended", "succeeded", 5)
    assert json.loads(content(gathered, "index.json"))["items"]["scene-3"] == ["scene-3.png"]
    with pytest.raises(Conflict):
        services.job_retry(job=gathered, by=owner)


def test_outputs_are_announced_to_go_and_go(
    gathered: Job, workspace: Workspace, api: APIClient, django_capture_on_commit_callbacks: Any
) -> None:
    Subscription.objects.create(owner=gathered.owner, name="Mail", channel="email", address="ada@example.org")
    Job.objects.update(expires_at=timezone.now() + timedelta(days=2))
    assert expiry.outputs_expire() == expiry.outputs_expire() == 0
    notice = Notice.objects.get(kind="expiry")
    assert "The outputs of blur the sky will be deleted on" in notice.subject
    assert "4 files" in body_of(notice)["data"]["why"]
    gathered.refresh_from_db()
    assert gathered.expiry_told_at is not None
    Job.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert expiry.outputs_expire() == 1
    expiry.outputs_clear(job_id=gathered.pk)
    assert keys(workspace, gathered.key("")) == ["items.jsonl", "plan.json"]
    assert keys(workspace, f"runs/{gathered.run_id}/") == []
    assert api.get(f"/api/v1/jobs/{gathered.pk}/archive/").status_code == 404
    assert expiry.outputs_expire() == 0


def test_outputs_are_deleted_when_somebody_says_so(gathered: Job, api: APIClient) -> None:
    assert api.delete(f"/api/v1/jobs/{gathered.pk}/outputs/").status_code == 204
    assert api.get(f"/api/v1/jobs/{gathered.pk}/").json()["outputs_deleted_at"]
    assert api.post(f"/api/v1/jobs/{gathered.pk}/retry/").status_code == 409


def follow(owner: User, giver: Job, workspace: str = "lab") -> Job:
    given = {"name": "next", "script": "hello", "input_job": giver.pk, "workspace": workspace}
    return services.job_submit(owner=owner, submission=given)


def test_the_outputs_of_a_job_are_the_next_ones_items(gathered: Job, owner: User, monkeypatch: Any) -> None:
    monkeypatch.setattr(finding, "items_found", REAL)
    job = follow(owner, gathered)
    assert work.job_work(job_id=job.pk) == "running"
    job.refresh_from_db()
    lines = [json.loads(line) for line in content(job, "items.jsonl").splitlines()]
    assert [line["id"] for line in lines] == [
        "scene-1/small.png",
        "shard-00001/log.csv",
        "scene-2_blurred.png",
        "shard-00002/log.csv",
    ]
    assert lines[0]["assets"]["file"] == {"key": gathered.key("outputs/scene-1/small.png"), "size": 1}
    assert job.bytes == 9


def test_from_another_workspace_they_come_as_links(
    gathered: Job, owner: User, workspace: Workspace, monkeypatch: Any, django_capture_on_commit_callbacks: Any
) -> None:
    monkeypatch.setattr(finding, "items_found", REAL)
    other = ready_workspace(owner, workspace.cloud_account, name="other")
    job = follow(owner, gathered, "other")
    with django_capture_on_commit_callbacks(execute=True):
        work.job_work(job_id=job.pk)
    step = shards(job)[0]
    key = f"control/inputs/{job.run_id}/{step.pk}/1/items.jsonl"
    body = boto3.client("s3").get_object(Bucket=other.bucket, Key=key)["Body"].read()
    href = json.loads(body.splitlines()[0])["assets"]["file"]["href"]
    assert href.startswith("https://")
    assert workspace.bucket in href
    assert "Signature" in href


def test_outputs_that_are_gone_are_nobodys_input(gathered: Job, owner: User) -> None:
    services.outputs_delete(job=gathered, by=owner)
    with pytest.raises(Invalid) as caught:
        follow(owner, gathered)
    assert "deleted" in caught.value.fields["input_job"]


REAL = finding.items_found


def test_a_shard_may_say_itself_which_item_gave_what(split: Make, agent: Agent, sky: list[Found]) -> None:
    job = split(shards={"number": 1})
    said = json.dumps({"x/y.png": "scene-2"}).encode()
    shard_end(agent, shards(job)[0], files={"x/y.png": b"1", "all.csv": b"2", ".orca-items.json": said})
    work.job_work(job_id=job.pk)
    index = json.loads(content(job, "index.json"))
    assert index["items"]["scene-2"] == ["x/y.png", "all.csv"]
    assert index["items"]["scene-1"] == ["all.csv"]


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON that says nothing twice."""
    assert len({name for name, _ in pairs}) == len(pairs), [name for name, _ in pairs]
    return dict(pairs)


@pytest.mark.parametrize("number", [1, 3])
def test_items_of_two_collections_may_have_the_same_id(
    split: Make, agent: Agent, workspace: Workspace, sky: list[Found], number: int
) -> None:
    workspace.instances.update(slots=9)
    sky[:] = [Found("S1", collection="MUX"), Found("S1", collection="AWFI"), Found("S2", collection="MUX")]
    job = split(shards={"number": number})
    files = [{"S1/a.png": b"1", "S1-2/b.png": b"2", "S2/c.png": b"3"}]
    if number == 3:
        files = [{"S1/a.png": b"1"}, {"S1/b.png": b"2"}, {"S2/c.png": b"3"}]
    for shard, left in zip(shards(job), files, strict=True):
        shard_end(agent, shard, files=left)
    work.job_work(job_id=job.pk)
    index = json.loads(content(job, "index.json"), object_pairs_hook=unique)
    named = {tuple(file["items"]): file["path"].rpartition("/")[2] for file in index["files"]}
    assert named == {("MUX/S1",): "a.png", ("AWFI/S1",): "b.png", ("S2",): "c.png"}
    assert {item: [path.rpartition("/")[2] for path in paths] for item, paths in index["items"].items()} == {
        "MUX/S1": ["a.png"],
        "AWFI/S1": ["b.png"],
        "S2": ["c.png"],
    }
    rows = csv.DictReader(io.StringIO(content(job, "index.csv").decode()))
    assert [row["item"] for row in rows] == ["MUX/S1", "AWFI/S1", "S2"]


def test_no_key_of_the_index_is_there_twice_whatever_items_are_called(
    split: Make, agent: Agent, sky: list[Found]
) -> None:
    sky[:] = [
        Found("b", collection="a"),
        Found("b"),
        Found("a/b"),
        Found("a/b", collection=""),
        Found("b", collection="c"),
    ]
    job = split(shards={"number": 1})
    shard_end(agent, shards(job)[0], files={})
    work.job_work(job_id=job.pk)
    index = json.loads(content(job, "index.json"), object_pairs_hook=unique)
    assert set(index["items"]) == {"a/b-2", "b", "a/b", "/a/b", "c/b"}


def test_what_could_not_be_gathered_is_gathered_when_somebody_asks(
    split: Make, agent: Agent, owner: User, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    job = split(shards={"number": 1})
    shard_end(agent, shards(job)[0], files={"a.txt": b"a"})
    with monkeypatch.context() as patch:
        patch.setattr("portal.jobs.gathering.archived", refused)
        work.job_work(job_id=job.pk)
    job.refresh_from_db()
    assert (job.phase, job.state, job.reason, job.index_key) == ("ended", "succeeded", "denied", "")
    assert job.expires_at is not None, "what the shards have left is not kept for ever"
    run = job.run_id
    with django_capture_on_commit_callbacks(execute=True):
        services.job_retry(job=job, by=owner)
        work.job_work(job_id=job.pk)
    job.refresh_from_db()
    assert (job.run_id, job.phase, job.reason, job.output_files) == (run, "ended", "", 1)
    with pytest.raises(Conflict):
        services.job_retry(job=job, by=owner)


def refused(*_: Any) -> int:
    raise CloudFault("The bucket says no.", code="denied", retryable=False)
