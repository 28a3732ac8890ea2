"""Pages of jobs: the list, one job with ten thousand shards, one shard, and what the buttons do."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
import yaml
from django.db import connection
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from portal.accounts.models import User
from portal.jobs.models import Job
from portal.pipelines.models import LogChunk, Run, Step
from portal.web.job_shown import PAGE, JobWatch

from .conftest import assert_no_inline
from .jobs_made import JobMaker, job_made

__all__ = ["job_made"]
pytestmark = pytest.mark.django_db
MIXED = {"succeeded": 30, "running": 4, "failed": 2, "queued": 28}


@pytest.fixture(autouse=True)
def _nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.pipelines.dispatch.steps_release", lambda *, workspace: None)


def page(browser: Client, address: str) -> str:
    response = browser.get(address)
    assert response.status_code == 200
    assert_no_inline(response.content.decode())
    return unescape(response.content.decode())


def job_page(browser: Client, job: Job, query: str = "") -> str:
    return page(browser, reverse("job", args=[job.pk]) + query)


def plain(html: str) -> str:
    return " ".join(html.split())


def test_progress_counts_each_state_in_words(browser: Client, job_made: JobMaker) -> None:
    html = plain(job_page(browser, job_made(MIXED, bytes=38_000_000)))
    assert "50 %" in html
    assert "32 of 64 shards" in html
    assert 'aria-label="30 succeeded, 2 failed, 4 running, 28 queued"' in html
    assert "38.0 MB" in html
    assert "shards/min" in html
    assert "left" in html


def test_before_there_are_shards_the_phase_is_said(browser: Client, job_made: JobMaker) -> None:
    html = plain(job_page(browser, job_made(phase="searching", run="queued", items=120)))
    assert "Searching" in html
    assert "Looking for the data." in html
    assert "120 items so far" in html
    assert "List of shards" not in html


def test_ten_thousand_shards_are_counted_not_loaded(browser: Client, job_made: JobMaker) -> None:
    job = job_made({"succeeded": 9_000, "failed": 3, "queued": 997})
    address = reverse("job", args=[job.pk])
    browser.get(address)
    with CaptureQueriesContext(connection) as seen:
        html = browser.get(address).content.decode()
    assert len(html) < 250_000
    assert len(seen.captured_queries) < 25
    assert html.count('<rect class="cell ') == 500
    assert "Shards 9001 to 9020: 3 failed, 17 queued" in html
    assert html.count('<td class="main-cell">') == PAGE
    runs = browser.get(reverse("run_list")).content.decode()
    assert runs.count(job.name) <= 4  # one line, one bar: not ten thousand
    assert browser.get(reverse("run", args=[job.run_id])).headers["Location"] == address


def test_the_list_of_shards_is_paged_and_narrowed(browser: Client, job_made: JobMaker) -> None:
    job = job_made({"succeeded": 60, "failed": 2})
    first = job_page(browser, job)
    assert f"?from={PAGE + 1}#shards" in first
    second = job_page(browser, job, f"?from={PAGE + 1}")
    assert f">shard {PAGE + 1}<" in second
    assert f"?until={PAGE + 1}#shards" in second
    back = job_page(browser, job, f"?until={PAGE + 1}")
    assert ">shard 1<" in back
    assert f"?from={PAGE + 1}#shards" in back
    failed = job_page(browser, job, "?shards=failed")
    assert failed.count('<td class="main-cell">') == 2
    assert ">shard 61<" in failed
    for odd in ("?from=-1", "?from=²", "?until=0", "?shards=nonsense", "?from=99999999", "?until=1&shards=failed"):
        job_page(browser, job, odd)


def test_what_was_tried_again_and_done_twice_is_seen(browser: Client, job_made: JobMaker) -> None:
    job = job_made({"succeeded": 8, "running": 1}, more={3: {"executions": 2}, 4: {"attempt": 2}}, twins=1)
    slow = Step.objects.get(run=job.run_id, position=9)
    Step.objects.filter(pk=slow.pk).update(state="cancelled", superseded=True)
    html = plain(job_page(browser, job))
    assert "1</span> tried again" in html
    assert "slow, done elsewhere, too" in html
    assert "Done by its twin" in html
    retried = job_page(browser, job, "?shards=retried")
    assert ">shard 3<" in retried
    assert ">shard 4<" not in retried


def test_a_shard_has_its_log_and_its_tries(browser: Client, job_made: JobMaker) -> None:
    at = timezone.now().isoformat()
    tried = {"execution": 1, "state": "failed", "exit_code": 3, "message": "Exit code 3.", "log_lines": 1}
    tried |= {"attempt": 1, "signal": None, "reason": "exit_code", "started_at": at, "finished_at": at}
    job = job_made({"succeeded": 5}, more={2: {"tries": [tried], "attempt": 2, "executions": 2, "log_lines": 1}})
    step = Step.objects.get(run=job.run_id, position=2)
    for execution, text in ((1, "the first try"), (2, "the second try")):
        LogChunk.objects.create(step=step, execution=execution, first=1, count=1, lines=[["out", 1.0, text]])
    address = reverse("run", args=[job.run_id]) + f"?step={step.pk}"
    assert address in job_page(browser, job)
    html = page(browser, address)
    assert "Shard 2" in html
    assert "the second try" in html
    assert reverse("job", args=[job.pk]) in html
    assert "the first try" in page(browser, f"{address}&try=1")
    assert f'href="{reverse("job_list")}" aria-current="page"' in html


def test_a_shard_that_was_begun_twice_leads_to_its_twin(browser: Client, job_made: JobMaker) -> None:
    job = job_made({"succeeded": 3}, twins=1, more={3: {"superseded": True}})
    Step.objects.filter(run=job.run_id, position=3).update(position=2)
    first, twin = Step.objects.filter(run=job.run_id, position=2).order_by("created_at")
    address = reverse("run", args=[job.run_id])
    for step in (first, twin):
        html = page(browser, f"{address}?step={step.pk}")
        assert f"?step={first.pk}#step" in html
        assert f"?step={twin.pk}#step" in html
        assert html.count(f"on {first.instance_id}<") == html.count(f"on {twin.instance_id}<") == 1
    alone = Step.objects.get(run=job.run_id, position=1)
    assert "Begun twice" not in page(browser, f"{address}?step={alone.pk}")


def test_a_shard_of_a_run_that_was_tried_again_still_leads_to_its_job(browser: Client, job_made: JobMaker) -> None:
    job = job_made({"failed": 2}, phase="ended", run="failed")
    before = job.run
    job.run = Run.objects.create(
        owner=job.owner, workspace=job.workspace, script=job.script, name=job.name, again_of=before, at_once=0
    )
    job.save(update_fields=["run"])
    assert browser.get(reverse("run", args=[before.pk])).headers["Location"] == reverse("job", args=[job.pk])
    step = before.steps.all()[0]
    assert reverse("job", args=[job.pk]) in page(browser, reverse("run", args=[before.pk]) + f"?step={step.pk}")


def test_what_it_made_is_seen_and_kept_for_a_while(browser: Client, job_made: JobMaker) -> None:
    outputs = [
        {"path": "scene/blurred.png", "size": 900, "content_type": "image/png"},
        {"path": "scene/notes.csv", "size": 90, "content_type": "text/csv"},
    ]
    job = job_made(
        {"succeeded": 3},
        phase="ended",
        run="succeeded",
        more={1: {"outputs": outputs}},
        index_key="i",
        archive_key="a",
        output_files=2,
        output_bytes=990,
        expires_at=timezone.now(),
    )
    html = job_page(browser, job)
    step = Step.objects.get(run=job.run_id, position=1)
    assert f"{reverse('step_output', args=[job.run_id, step.pk, 'scene/blurred.png'])}?inline" in html
    assert "scene/notes.csv" in html
    assert "Kept until" in html
    for kind in ("archive", "index"):
        assert reverse("job_file", args=[job.pk, kind]) in html
    assert f"?input_job={job.pk}" in html
    Job.objects.filter(pk=job.pk).update(outputs_deleted_at=timezone.now())
    gone = job_page(browser, job)
    assert "They were deleted" in gone
    assert "scene/blurred.png" not in gone
    assert "?input_job=" not in gone


def test_links_to_the_bucket(browser: Client, job_made: JobMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.gateways.aws_storage.link", lambda *_, **__: "https://bucket.example.org/x")
    monkeypatch.setattr("portal.jobs.selectors.account_handle", lambda account: account)
    job = job_made({"succeeded": 1}, phase="ended", run="succeeded", archive_key="a")
    address = reverse("job_file", args=[job.pk, "archive"])
    assert browser.get(address).headers["Location"] == "https://bucket.example.org/x"
    assert browser.get(reverse("job_file", args=[job.pk, "index"])).status_code == 404
    assert browser.get(reverse("job_file", args=[job.pk, "nonsense"])).status_code == 404


def test_the_yaml_is_one_that_can_be_submitted_again(browser: Client, job_made: JobMaker) -> None:
    job = job_made({"succeeded": 1})
    found: Any = browser.get(reverse("job_file", args=[job.pk, "job.yaml"])).content.decode()
    said = yaml.safe_load(found)
    assert said["script"] == "Weather"
    assert said["workspace"] == "Lab"
    assert said["data"]["bbox"] == [-60.5, -12.0, -48.0, -3.5]
    assert "limits" not in said  # nothing but what was said
    assert "retries" not in said


def test_buttons_are_there_when_they_can_do_something(browser: Client, job_made: JobMaker) -> None:
    running = job_page(browser, job_made(MIXED))
    assert "Cancel" in running
    for gone in ("Retry failed shards", "Submit with changes", "Use as input"):
        assert gone not in running
    ended = job_page(browser, job_made({"succeeded": 3, "failed": 1}, phase="ended", run="failed"))
    assert "Retry failed shards" in ended
    assert "Submit with changes" in ended
    good = job_page(browser, job_made({"succeeded": 3}, phase="ended", run="succeeded"))
    assert "Retry failed shards" not in good


def test_it_is_cancelled_retried_and_its_outputs_are_deleted(browser: Client, job_made: JobMaker) -> None:
    job = job_made({"running": 1, "queued": 3})
    assert browser.post(reverse("job_cancel", args=[job.pk])).status_code == 302
    assert Run.objects.get(pk=job.run_id).cancel_requested_at is not None
    ended = job_made({"succeeded": 3, "failed": 1}, phase="ended", run="failed", index_key="i", name="other")
    assert browser.post(reverse("job_outputs_delete", args=[ended.pk])).status_code == 302
    assert Job.objects.get(pk=ended.pk).outputs_deleted_at is not None
    failed = job_made({"succeeded": 3, "failed": 1}, phase="ended", run="failed", name="third")
    assert browser.post(reverse("job_retry", args=[failed.pk])).status_code == 302
    assert Job.objects.get(pk=failed.pk).run_id != failed.run_id


def test_the_list_is_filtered_and_says_how_each_goes(browser: Client, job_made: JobMaker) -> None:
    job_made(MIXED, name="going on")
    job_made({"succeeded": 3}, phase="ended", run="succeeded", name="done well")
    job_made(phase="searching", run="queued", name="just begun")
    html = plain(page(browser, reverse("job_list")))
    assert "32 of 64" in html
    assert "2 failed" in html
    assert "3 of 3" in html
    for query, there, gone in (
        ("?state=open", "going on", "done well"),
        ("?state=succeeded", "done well", "going on"),
        ("?q=begun", "just begun", "going on"),
    ):
        narrowed = page(browser, reverse("job_list") + query)
        assert there in narrowed
        assert f">{gone}<" not in narrowed
    assert "No job is like that." in page(browser, reverse("job_list") + "?q=nothing")


def test_more_jobs_cost_no_more_queries(browser: Client, job_made: JobMaker) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as seen:
            browser.get(reverse("job_list"))
        return len(seen.captured_queries)

    job_made({"running": 2}, name="first")
    count()
    before = count()
    for number in range(30):
        job_made({"running": 2, "succeeded": 1}, name=f"job {number}")
    assert count() == before
    older = page(browser, reverse("job_list"))
    assert "?before=" in older


def test_nobody_else_sees_it(outsider_browser: Client, job_made: JobMaker) -> None:
    job = job_made({"succeeded": 1})
    for name in ("job", "job_live"):
        assert outsider_browser.get(reverse(name, args=[job.pk])).status_code == 404
    for name in ("job_cancel", "job_retry", "job_outputs_delete"):
        assert outsider_browser.post(reverse(name, args=[job.pk])).status_code == 404
    for query in (f"?like={job.pk}", f"?input_job={job.pk}"):
        assert outsider_browser.get(reverse("job_new") + query).status_code == 404


def test_only_what_changes_is_sent_and_it_ends_with_the_job(owner: User, job_made: JobMaker) -> None:
    job = job_made({"succeeded": 1, "running": 1})
    request: HttpRequest = RequestFactory().get("/")
    request.user = owner
    watch = JobWatch(job, owner=owner, request=request)
    [first] = watch.news()
    assert {"job-head", "job-progress", "job-grid", "job-shards"} <= first.body.keys()
    assert watch.news() == []
    Step.objects.filter(run=job.run_id, state="running").update(state="succeeded", finished_at=timezone.now())
    [second] = watch.news()
    assert "100 %" in second.body["job-progress"]
    assert not watch.over
    Run.objects.filter(pk=job.run_id).update(state="succeeded", finished_at=timezone.now())
    Job.objects.filter(pk=job.pk).update(phase="ended")
    watch.news()
    assert watch.over
