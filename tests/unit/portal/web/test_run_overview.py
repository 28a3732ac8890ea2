"""The page of a pipeline's run: its pictures, one step of it with its tries, and what its buttons do."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from portal.accounts.models import User
from portal.pipelines.models import LogChunk, Run, Step
from portal.web.run_shown import RunWatch

from .conftest import RunMaker, assert_no_inline
from .pipelines_made import PipelineRunMaker, pipeline_made, pipeline_run_made

__all__ = ["pipeline_made", "pipeline_run_made"]
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.pipelines.dispatch.steps_release", lambda *, workspace: None)


def page(browser: Client, run: Run, query: str = "") -> str:
    response = browser.get(reverse("run", args=[run.pk]) + query)
    assert response.status_code == 200
    assert_no_inline(response.content.decode())
    return unescape(response.content.decode())


def tried(execution: int, *, lines: int = 1) -> dict[str, Any]:
    at = timezone.now() - timedelta(minutes=9)
    return {
        "attempt": execution,
        "execution": execution,
        "state": "failed",
        "exit_code": 75,
        "signal": None,
        "reason": "exit_code",
        "message": "It ended with exit code 75.",
        "started_at": at.isoformat(),
        "finished_at": (at + timedelta(seconds=5)).isoformat(),
        "log_lines": lines,
    }


def test_each_step_is_a_link_with_its_state_in_words(browser: Client, pipeline_run_made: PipelineRunMaker) -> None:
    run = pipeline_run_made({"fetch": "succeeded", "left": "failed", "right": "succeeded"}, state="failed")
    html = page(browser, run)
    for key, word in (("fetch", "Succeeded"), ("left", "Failed"), ("report", "Skipped")):
        step = run.steps.get(key=key)
        assert f'<a class="node" id="node-{step.pk}" href="?step={step.pk}#step"' in html
        assert f"<title>{key}: {word}</title>" in html
        assert f'id="row-{step.pk}"' in html
    assert "1 step did not run because of it." in html
    assert html.count('class="arrow"') == 4


def test_what_failed_is_shown_first_else_what_is_asked_for(
    browser: Client, pipeline_run_made: PipelineRunMaker
) -> None:
    run = pipeline_run_made({"fetch": "succeeded", "left": "failed"}, state="failed")
    assert "Step left" in page(browser, run)
    assert "Step fetch" in page(browser, run, f"?step={run.steps.get(key='fetch').pk}")
    other = pipeline_run_made({"fetch": "succeeded"})
    address = reverse("run", args=[run.pk])
    assert browser.get(f"{address}?step={other.steps.all()[0].pk}").status_code == 404


def test_each_try_has_its_log(browser: Client, pipeline_run_made: PipelineRunMaker) -> None:
    run = pipeline_run_made(
        {"fetch": "succeeded", "left": "failed"},
        state="failed",
        lines=[["out", "the last try"]],
        more={"left": {"tries": [tried(1)], "retries": {"count": 1, "backoff_seconds": 5, "exit_codes": []}}},
    )
    step = run.steps.get(key="left")
    Step.objects.filter(pk=step.pk).update(executions=2)
    LogChunk.objects.filter(step=step).update(execution=2)
    LogChunk.objects.create(step=step, execution=1, first=1, count=1, lines=[["out", 1.0, "the first try"]])
    last = page(browser, run)
    assert "the last try" in last
    assert "the first try" not in last
    assert "Try 2" in last
    first = page(browser, run, f"?step={step.pk}&try=1")
    assert "the first try" in first
    assert "the last try" not in first
    assert "It ended with exit code 75." in first
    address = reverse("step_log", args=[run.pk, step.pk])
    assert f'href="{address}?try=1"' in first
    saved: Any = browser.get(f"{address}?try=1")
    assert b"".join(saved) == b"the first try\n"


def test_who_started_it_and_with_what(browser: Client, pipeline_run_made: PipelineRunMaker, owner: User) -> None:
    html = page(browser, pipeline_run_made({"fetch": "running"}, via="api"))
    assert owner.get_full_name() in html
    assert "through the API" in html
    assert "Parameter day" in html
    assert "version 1" in html


def test_what_a_step_is_given_is_listed(browser: Client, pipeline_run_made: PipelineRunMaker) -> None:
    outputs = [{"path": "rows.csv", "size": 900, "content_type": "text/csv"}]
    run = pipeline_run_made({"fetch": "succeeded", "left": "running"}, more={"fetch": {"outputs": outputs}})
    fetch = run.steps.get(key="fetch")
    html = page(browser, run, f"?step={run.steps.get(key='left').pk}")
    assert reverse("step_output", args=[run.pk, fetch.pk, "rows.csv"]) in html
    preview = reverse("step_preview", args=[run.pk, fetch.pk, "rows.csv"])
    assert preview in page(browser, run, f"?step={fetch.pk}")


def test_a_held_run_says_what_it_waits_for(browser: Client, pipeline_run_made: PipelineRunMaker) -> None:
    html = page(browser, pipeline_run_made({}, state="queued", held=True, started_at=None))
    assert "It waits for an earlier run of this pipeline to end" in html
    assert "Waits its turn" in html


def pressed(browser: Client, name: str, *arguments: str) -> Run:
    answer = browser.post(reverse(name, args=arguments))
    assert answer.status_code == 302
    run_id = answer.headers["Location"].strip("/").split("/")[-1]
    return Run.objects.get(pk=run_id)


def test_it_is_retried_run_again_or_one_step_of_it_is_done_again(
    browser: Client, pipeline_run_made: PipelineRunMaker
) -> None:
    run = pipeline_run_made({"fetch": "succeeded", "left": "failed", "right": "succeeded"}, state="failed")
    html = page(browser, run)
    assert "Retry from the failed step" in html
    retried = pressed(browser, "run_retry", run.pk)
    assert dict(retried.steps.values_list("key", "state"))["fetch"] == "succeeded"
    Run.objects.filter(pk=retried.pk).update(state="failed")
    whole = pressed(browser, "run_again", run.pk)
    assert set(whole.steps.values_list("state", flat=True)) <= {"waiting", "queued"}
    Run.objects.filter(pk=whole.pk).update(state="failed")
    one = pressed(browser, "step_again", run.pk, run.steps.get(key="left").pk)
    assert set(one.steps.values_list("key", flat=True)) == {"fetch", "left"}
    assert one.again_of == run


def test_what_was_done_in_an_earlier_run_is_shown_from_there(
    browser: Client, pipeline_run_made: PipelineRunMaker
) -> None:
    run = pipeline_run_made({"fetch": "succeeded", "left": "failed"}, state="failed", lines=[["out", "fetched"]])
    retried = pressed(browser, "run_retry", run.pk)
    step = retried.steps.get(key="fetch")
    html = page(browser, retried, f"?step={step.pk}")
    assert "fetched" in html
    assert "<title>fetch: Done before</title>" in html
    assert f"{reverse('run', args=[run.pk])}?step={run.steps.get(key='fetch').pk}" in html
    saved: Any = browser.get(reverse("step_log", args=[retried.pk, step.pk]))
    assert b"".join(saved) == b"fetched\n"


def test_buttons_are_there_when_they_can_do_something(browser: Client, pipeline_run_made: PipelineRunMaker) -> None:
    running = page(browser, pipeline_run_made({"fetch": "running"}))
    assert ">Stop<" in re.sub(r"\s*<svg.*?</svg>", "", running)
    for gone in ("Retry from", "Run whole again", "Do this step again"):
        assert gone not in running
    good = pipeline_run_made(dict.fromkeys(("fetch", "left", "right", "report"), "succeeded"), state="succeeded")
    html = page(browser, good)
    assert "Run whole again" in html
    assert "Retry from" not in html
    ill = pipeline_run_made({"fetch": "failed"}, state="failed")
    assert "Do this step again" not in page(browser, ill, f"?step={ill.steps.get(key='report').pk}")


def watch(run: Run, owner: User, query: str = "") -> RunWatch:
    request: HttpRequest = RequestFactory().get(f"/{query}")
    request.user = owner
    return RunWatch(run, owner=owner, request=request)


def swapped(watching: RunWatch) -> dict[str, str]:
    found: dict[str, str] = {}
    for event in watching.news():
        if event.kind == "swap":
            found |= event.body
    return found


def test_only_what_changes_is_sent(owner: User, pipeline_run_made: PipelineRunMaker) -> None:
    run = pipeline_run_made({"fetch": "succeeded", "left": "waiting"})
    left, report = (run.steps.get(key=key) for key in ("left", "report"))
    watching = watch(run, owner, f"?step={left.pk}")
    assert {f"node-{left.pk}", f"row-{report.pk}", "run-head", "step-head", "gantt-axis"} <= swapped(watching).keys()
    assert swapped(watching) == {}
    Step.objects.filter(pk=left.pk).update(state="queued")
    assert {f"node-{left.pk}", f"row-{left.pk}"} <= (news := swapped(watching)).keys()
    assert f"node-{report.pk}" not in news
    assert "Queued" in news[f"node-{left.pk}"]


def test_a_try_that_is_over_gets_no_lines_of_the_next(owner: User, pipeline_run_made: PipelineRunMaker) -> None:
    run = pipeline_run_made({"fetch": "running"}, more={"fetch": {"tries": [tried(7)]}})
    step = run.steps.get(key="fetch")
    past = watch(run, owner, f"?step={step.pk}&try=7")
    assert [event.kind for event in past.news()] == ["swap"]
    latest = watch(run, owner, f"?step={step.pk}")
    assert [event.kind for event in latest.news()] == ["lines", "swap"]


def test_a_run_of_a_script_keeps_its_simple_page(browser: Client, run_made: RunMaker) -> None:
    html = page(browser, run_made())
    assert 'class="dag' not in html
    assert "Run again" in html
