"""Pages of pipelines: written with the place of every mistake shown, run with parameters, deleted when none is open."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal.pipelines.models import Pipeline, Run, Script, ScriptVersion
from portal.web.pipeline_shown import example
from portal.workspaces.models import Workspace

from .conftest import WorkspaceMaker, assert_no_inline
from .pipelines_made import DIAMOND, PipelineMaker, PipelineRunMaker, pipeline_made, pipeline_run_made

__all__ = ["pipeline_made", "pipeline_run_made"]
pytestmark = pytest.mark.django_db
WRONG = DIAMOND.replace("needs: [fetch]", "needs: [fetsch]", 1)


@pytest.fixture(autouse=True)
def _nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.pipelines.dispatch.steps_release", lambda *, workspace: None)


def shown(browser: Client, name: str, *arguments: str, query: str = "") -> str:
    response = browser.get(reverse(name, args=arguments) + query)
    assert response.status_code == 200
    html = unescape(response.content.decode())
    assert_no_inline(response.content.decode())
    return html


def saved(browser: Client, source: str, pipeline: Pipeline | None = None) -> Any:
    address = reverse("pipeline_edit", args=[pipeline.pk]) if pipeline else reverse("pipeline_new")
    return browser.post(address, {"source": source.replace("\n", "\r\n")}, follow=True)


def test_the_example_is_of_ones_own_and_fits(browser: Client, version: ScriptVersion, workspace: Workspace) -> None:
    Script.objects.create(owner=version.script.owner, name="no", claimed_name="no")
    found = example(version.script.owner)
    assert found.lacking == []
    assert 'script: "no"' in found.source
    answer = browser.post(reverse("pipeline_check"), {"source": found.source})
    assert "has no version" not in unescape(answer.content.decode())
    assert "It fits" in answer.content.decode() or "no version" in answer.content.decode()
    assert found.source in shown(browser, "pipeline_new")


def test_a_name_that_is_taken_is_not_proposed(browser: Client, pipeline_made: PipelineMaker) -> None:
    made = pipeline_made(DIAMOND.replace("nightly", "my-pipeline"))
    assert "name: my-pipeline-2\n" in example(made.owner).source


def test_what_one_lacks_is_said_before_one_writes(browser: Client) -> None:
    html = shown(browser, "pipeline_new")
    assert reverse("script_new") in html
    assert reverse("workspace_new") in html.split("A pipeline needs")[1]


def test_mistakes_are_shown_with_line_field_and_message(
    browser: Client, version: ScriptVersion, workspace: Workspace
) -> None:
    answer = browser.post(reverse("pipeline_check"), {"source": WRONG})
    html = unescape(answer.content.decode())
    assert_no_inline(answer.content.decode())
    assert 'data-problem="8"' in html
    assert "There is no step fetsch. Do you mean fetch?" in html
    assert "steps.1.needs" in html
    assert "It fits" in browser.post(reverse("pipeline_check"), {"source": DIAMOND}).content.decode()
    assert not Pipeline.objects.exists()


@pytest.mark.parametrize("source", ["", "[", "a: *b", "<script>alert(1)</script>", "x" * 600_000, "\x00", "steps: {}"])
def test_whatever_is_typed_is_answered(browser: Client, source: str) -> None:
    for address in (reverse("pipeline_check"), reverse("pipeline_new")):
        answer = browser.post(address, {"source": source})
        assert answer.status_code in {200, 400, 422}, address
        assert "<script>alert" not in answer.content.decode()


def test_saving_says_what_it_did(browser: Client, version: ScriptVersion, workspace: Workspace) -> None:
    assert "Created." in saved(browser, DIAMOND).content.decode()
    pipeline = Pipeline.objects.get()
    assert "Nothing was changed: version 1" in saved(browser, DIAMOND, pipeline).content.decode()
    more = DIAMOND + "  - {name: mail, script: Weather}\n"
    assert "Saved as version 2." in saved(browser, more, pipeline).content.decode()
    renamed = saved(browser, more.replace("name: nightly", "name: daily"), pipeline).content.decode()
    assert "nightly stays as it was" in renamed
    assert sorted(Pipeline.objects.values_list("name", flat=True)) == ["daily", "nightly"]
    assert pipeline.versions.get(number=1).source == DIAMOND


def test_what_cannot_be_saved_comes_back_as_it_was_written(
    browser: Client, version: ScriptVersion, workspace: Workspace
) -> None:
    answer = saved(browser, WRONG)
    assert answer.status_code in {400, 422}
    html = unescape(answer.content.decode())
    assert WRONG in html
    assert "There is no step fetsch." in html
    assert not Pipeline.objects.exists()


def test_the_page_shows_steps_versions_and_their_sources(browser: Client, pipeline_made: PipelineMaker) -> None:
    pipeline = pipeline_made()
    pipeline_made(DIAMOND.replace("name: report", "name: summary"))
    html = shown(browser, "pipeline", pipeline.pk)
    assert "<title>summary</title>" in html
    assert "This is an older version" not in html
    old = shown(browser, "pipeline", pipeline.pk, query="?version=1")
    assert "<title>report</title>" in old
    assert "This is an older version" in old
    assert browser.get(reverse("pipeline", args=[pipeline.pk]) + "?version=9").status_code == 404
    edited = shown(browser, "pipeline_edit", pipeline.pk, query="?version=1")
    assert "name: report" in edited


def run(browser: Client, pipeline: Pipeline, **parameters: str) -> Any:
    data = {f"parameter-{name}": value for name, value in parameters.items()}
    return browser.post(reverse("pipeline_run", args=[pipeline.pk]), data)


def test_it_is_run_with_parameters(browser: Client, pipeline_made: PipelineMaker) -> None:
    pipeline = pipeline_made()
    answer = run(browser, pipeline, day="monday")
    made = Run.objects.get()
    assert answer.headers["Location"] == reverse("run", args=[made.pk])
    assert (made.parameters, made.via, made.pipeline) == ({"day": "monday"}, "page", pipeline)
    run(browser, pipeline)
    assert Run.objects.first() is not None
    assert {each.parameters["day"] for each in Run.objects.all()} == {"monday", "today"}


def test_a_parameter_without_a_default_is_asked_for(browser: Client, pipeline_made: PipelineMaker) -> None:
    pipeline = pipeline_made(DIAMOND.replace("{default: today, description: Which day}", ""))
    answer = run(browser, pipeline, day="")
    assert answer.status_code == 422
    assert "must be given" in answer.content.decode()
    assert not Run.objects.exists()
    assert run(browser, pipeline, day="x").status_code == 302


def test_a_busy_pipeline_says_so(browser: Client, pipeline_made: PipelineMaker) -> None:
    pipeline = pipeline_made(DIAMOND + "concurrency: forbid\n")
    run(browser, pipeline)
    answer = run(browser, pipeline, day="kept")
    assert answer.status_code == 409
    html = unescape(answer.content.decode())
    assert "nightly is still running." in html
    assert 'value="kept"' in html


def test_it_is_deleted_once_no_run_is_open(
    browser: Client, pipeline_made: PipelineMaker, pipeline_run_made: PipelineRunMaker
) -> None:
    made = pipeline_run_made({"fetch": "running"})
    address = reverse("pipeline_archive", args=[made.pipeline_id])
    page = reverse("pipeline", args=[made.pipeline_id])
    assert "1 run of it is open" in unescape(browser.get(page).content.decode())
    refused = browser.post(address, headers={"referer": f"http://testserver{page}"}, follow=True)
    assert "nightly is running." in refused.content.decode()
    Run.objects.update(state="succeeded")
    assert "Delete it" in browser.get(page).content.decode()
    assert "nightly is deleted." in browser.post(address, follow=True).content.decode()
    assert browser.get(page).status_code == 404
    old = browser.get(reverse("run", args=[made.pk])).content.decode()
    assert "(deleted)" in old
    assert "Run whole again" not in old


def test_the_list_says_how_the_last_run_went(
    browser: Client, pipeline_made: PipelineMaker, pipeline_run_made: PipelineRunMaker
) -> None:
    assert "No pipeline yet" in shown(browser, "pipeline_list")
    made = pipeline_run_made({"fetch": "failed"}, state="failed")
    html = shown(browser, "pipeline_list")
    assert reverse("run", args=[made.pk]) in html
    assert "Failed" in html
    assert 'aria-label="Run nightly"' in html


def test_a_name_that_is_no_plain_word_is_quoted(
    browser: Client, version: ScriptVersion, workspace_made: WorkspaceMaker
) -> None:
    workspace_made(name='My "lab": #1')
    Script.objects.update(name="12")
    source = example(version.script.owner).source
    assert 'workspace: "My \\"lab\\": #1"' in source
    assert 'script: "12"' in source
    answer = browser.post(reverse("pipeline_check"), {"source": source})
    assert "It fits" in answer.content.decode()
