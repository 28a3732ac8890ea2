"""The summary of all tasks: what runs and waits, what ran when, and only what is asked for of it."""

from __future__ import annotations

from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from portal.accounts.models import User
from portal.pipelines.models import Run
from portal.schedules.services import schedule_create
from portal.schedules.targets import Target
from portal.schedules.timing import Timing
from portal.web.pictures import Bar, axis_svg, bars_svg, span_rounded

from .conftest import RunMaker, assert_no_inline
from .pipelines_made import PipelineRunMaker, pipeline_made, pipeline_run_made

__all__ = ["pipeline_made", "pipeline_run_made"]
pytestmark = pytest.mark.django_db


def listed(browser: Client, query: str = "") -> str:
    response = browser.get(reverse("run_list") + query)
    assert response.status_code == 200
    assert_no_inline(response.content.decode())
    return unescape(response.content.decode())


def timeline(html: str) -> str:
    return html.split('id="runs-timeline"')[1].split('id="runs-rows"', maxsplit=1)[0]


def rows(html: str) -> str:
    return html.split('id="runs-rows"')[1]


def moved(run: Run, hours: float) -> None:
    at = timezone.now() - timedelta(hours=hours)
    Run.objects.filter(pk=run.pk).update(created_at=at, started_at=at, finished_at=at + timedelta(minutes=5))


def test_what_runs_and_waits_comes_first(
    browser: Client, run_made: RunMaker, pipeline_run_made: PipelineRunMaker
) -> None:
    run_made("running", name="At work")
    pipeline_run_made({}, state="queued", held=True, started_at=None)
    first = listed(browser).split('id="runs-timeline"')[0]
    assert "At work" in first
    assert "waits for the run before it" in first


def test_what_will_run_is_told(browser: Client, owner: User, pipeline_run_made: PipelineRunMaker) -> None:
    pipeline = pipeline_run_made({}, state="queued").pipeline
    assert pipeline is not None
    made = schedule_create(
        owner=owner,
        name="Every morning",
        timing=Timing("cron", expression="0 6 * * *"),
        target=Target("pipeline", pipeline=pipeline.pk),
    )
    first = listed(browser).split('id="runs-timeline"')[0]
    assert "Coming up" in first
    assert reverse("schedule", args=[made.pk]) in first
    assert "Every morning" in browser.get(reverse("pipeline", args=[pipeline.pk])).content.decode()


def test_runs_are_found_by_pipeline_and_time(
    browser: Client, run_made: RunMaker, pipeline_run_made: PipelineRunMaker
) -> None:
    old, new = run_made(name="Long ago"), run_made(name="Lately")
    moved(old, 30)
    made = pipeline_run_made({"fetch": "succeeded"}, state="succeeded")
    assert "Lately" not in rows(listed(browser, f"?pipeline={made.pipeline_id}"))
    assert reverse("run", args=[made.pk]) in rows(listed(browser, f"?pipeline={made.pipeline_id}"))
    day = listed(browser, "?span=day")
    assert "Long ago" not in rows(day)
    assert "Lately" in rows(day)
    week = listed(browser, "?span=week")
    assert "Long ago" in rows(week)
    assert reverse("run", args=[old.pk]) in timeline(week)
    assert reverse("run", args=[old.pk]) not in timeline(listed(browser))
    assert reverse("run", args=[new.pk]) in timeline(listed(browser))
    assert "Lately" in rows(listed(browser, "?span=nonsense"))


def test_each_script_and_pipeline_has_a_lane_and_each_run_a_bar(
    browser: Client, run_made: RunMaker, pipeline_run_made: PipelineRunMaker
) -> None:
    runs = [run_made("failed", name=f"By hand {n}") for n in range(3)]
    made = pipeline_run_made({"fetch": "running"})
    html = timeline(listed(browser))
    assert html.count('class="gantt-row"') == 2
    assert "3 runs" in html
    for run in [*runs, made]:
        assert html.count(reverse("run", args=[run.pk])) == 1
    assert "By hand 0: Failed, 1 min 0 s" in html


def test_bars_that_overlap_lie_below_each_other(browser: Client, run_made: RunMaker) -> None:
    for _ in range(3):
        run_made()
    levels = {bar.split('"')[0] for bar in timeline(listed(browser)).split(' y="')[1:]}
    assert len(levels) >= 3


def test_a_bar_stays_in_its_field_and_is_never_too_thin_to_be_hit() -> None:
    html = str(bars_svg([Bar(-0.5, 0.1, "good", "<early>"), Bar(0.9999, 1.5, "bad", "late", href="/x?a=1&b=2")]))
    assert 'x="0.000%"' in html
    assert 'width="10.000%"' in html
    assert 'x="99.600%"' in html
    assert "&lt;early&gt;" in html
    assert "/x?a=1&amp;b=2" in html


@pytest.mark.parametrize("seconds", [0.1, 0.9, 7, 59, 61, 3_599, 90_000, 10_000_000])
def test_an_axis_has_a_few_marks_and_its_end_is_behind_the_last(seconds: float) -> None:
    rounded = span_rounded(seconds)
    assert seconds < rounded <= seconds * 2.5
    assert 1 <= str(axis_svg(rounded)).count("<text") <= 7


def test_programs_can_ask_the_same(api: APIClient, run_made: RunMaker) -> None:
    old, new = run_made(name="Long ago"), run_made(name="Lately")
    moved(old, 30)

    def found(**asked: str) -> list[Any]:
        answer = api.get(reverse("api_runs"), asked)
        assert answer.status_code == 200
        return [run["id"] for run in answer.json()["results"]]

    border = (timezone.now() - timedelta(hours=1)).isoformat()
    assert found(since=border) == [new.pk]
    assert found(until=border) == [old.pk]
    assert found(name="LATE") == [new.pk]
    assert api.get(reverse("api_runs"), {"since": "nonsense"}).status_code == 400
