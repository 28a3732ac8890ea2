"""A run's page: its log in windows, its outputs with previews, and what its buttons do."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal.core.errors import CloudFault
from portal.pipelines import selectors
from portal.pipelines.models import Run, ScriptVersion
from portal.web import run_shown
from portal.web.views import runs as views

from .conftest import RunMaker, assert_no_inline, log_grown

pytestmark = pytest.mark.django_db


def page(browser: Client, run: Run, query: str = "") -> str:
    return browser.get(reverse("run", args=[run.pk]) + query).content.decode()


def test_the_log_tells_the_streams_apart(browser: Client, run_made: RunMaker) -> None:
    html = page(browser, run_made(lines=[["out", "fine"], ["err", "oops"], ["orca", "installing"]]))
    for number, stream in enumerate(("out", "err", "orca"), 1):
        assert f'id="L{number}"' in html
        assert f'data-stream="{stream}"' in html


def test_a_long_log_is_shown_in_windows(browser: Client, run_made: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_shown, "LINES_SHOWN", 10)
    run = run_made(lines=[["out", f"line {number:02}"] for number in range(1, 26)])
    newest = page(browser, run)
    assert "line 25" in newest
    assert "line 15" not in newest
    assert "?after=5" in newest
    assert "Later lines" not in newest
    middle = page(browser, run, "?after=5")
    assert "line 06" in middle
    assert "line 16" not in middle
    assert "?after=15" in middle
    assert "line 25" in page(browser, run, "?after=nonsense")
    assert "line 25" not in page(browser, run, "?after=999999999")


def test_while_it_runs_the_log_can_be_saved_as_far_as_it_goes(browser: Client, run_made: RunMaker) -> None:
    run = run_made("running", lines=[["out", "one"], ["err", "two"]])
    response: Any = browser.get(reverse("step_log", args=[run.pk, run.steps.get().pk]))
    assert b"".join(response) == b"one\ntwo\n"
    assert response.headers["Content-Disposition"].startswith("attachment")


def test_the_whole_log_and_outputs_come_from_the_bucket(
    browser: Client, run_made: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.pipelines.services.log_link", lambda *, step: "https://bucket/log")
    monkeypatch.setattr(views, "output_link", lambda step, path, inline: f"https://bucket/{path}?{inline}")
    run = run_made(log_key="runs/x/log.txt")
    step = run.steps.get().pk
    assert browser.get(reverse("step_log", args=[run.pk, step])).headers["Location"] == "https://bucket/log"
    address = reverse("step_output", args=[run.pk, step, "a/b.png"])
    assert browser.get(address).headers["Location"] == "https://bucket/a/b.png?False"
    assert browser.get(f"{address}?inline").headers["Location"] == "https://bucket/a/b.png?True"


def outputs(*paths: str) -> list[dict[str, Any]]:
    return [{"path": path, "size": 100, "content_type": "text/plain"} for path in paths]


@pytest.mark.parametrize(
    ("path", "text", "expected", "unexpected"),
    [
        ("a.csv", "name,x\nPotsdam,1\n<b>,2\n", "<td>&lt;b&gt;</td>", "<b>"),
        ("a.tsv", "name\tx\nPotsdam\t1,5\n", "<td>1,5</td>", "\t"),
        ("a.md", "# Title\n\n<script>alert(1)</script> [x](javascript:alert)", "<h1>Title</h1>", "<script"),
        ("a.json", '{"a": "<script>"}', "&lt;script&gt;", "<script"),
        ("a.txt", "</pre><script>", "&lt;/pre&gt;", "<script"),
    ],
)
def test_previews_show_what_is_there_and_run_none_of_it(
    browser: Client,
    run_made: RunMaker,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    text: str,
    expected: str,
    unexpected: str,
) -> None:
    monkeypatch.setattr(views, "output_text", lambda step, path: text)
    run = run_made(outputs=outputs(path))
    html = browser.get(reverse("step_preview", args=[run.pk, run.steps.get().pk, path])).content.decode()
    assert expected in html
    assert unexpected not in html
    assert 'href="javascript' not in html


def test_a_preview_that_cannot_be_fetched_says_so(
    browser: Client, run_made: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(step: object, path: str) -> str:
        raise CloudFault("The bucket does not answer.")

    monkeypatch.setattr(views, "output_text", fail)
    run = run_made(outputs=outputs("a.txt"))
    step = run.steps.get().pk
    assert b"does not answer" in browser.get(reverse("step_preview", args=[run.pk, step, "a.txt"])).content
    assert browser.get(reverse("step_preview", args=[run.pk, step, "b.txt"])).status_code == 404


def test_images_are_shown_through_the_portal_and_only_some_at_once(browser: Client, run_made: RunMaker) -> None:
    run = run_made(outputs=outputs(*(f"{number}.png" for number in range(9)), "x.bin"))
    html = page(browser, run)
    assert html.count("?inline") == 9
    assert html.count('<details class="preview"') == 5
    assert_no_inline(html)


def test_cancelling(browser: Client, run_made: RunMaker) -> None:
    run = run_made("running", released_at=timezone.now())
    assert browser.post(reverse("run_cancel", args=[run.pk])).status_code == 302
    run.refresh_from_db()
    assert run.cancel_requested_at
    html = page(browser, run)
    assert "Being cancelled" in html
    assert "Cancel</button>" not in html


def test_run_again_does_the_same_once_more(browser: Client, run_made: RunMaker) -> None:
    run = run_made("failed", arguments=["--year", "two words"], environment={"A": "b"})
    response = browser.post(reverse("run_again", args=[run.pk]))
    again = Run.objects.exclude(pk=run.pk).get()
    assert response.headers["Location"] == reverse("run", args=[again.pk])
    step = again.steps.get()
    assert (step.arguments, step.environment, again.again_of) == (["--year", "two words"], {"A": "b"}, run)


def test_run_with_changes_begins_with_what_was(
    browser: Client, run_made: RunMaker, version: ScriptVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.web.views.scripts.file_text", lambda version, path: "print()")
    run = run_made("failed", arguments=["--title", "two words"], environment={"A": "b"})
    run.steps.update(limits={"seconds": 3600, "memory_mb": 77})
    response = browser.get(reverse("script", args=[version.script_id]) + f"?like={run.pk}")
    form = response.context["form"]
    assert form["arguments"].value() == "--title 'two words'"
    assert form.environment_rows == [("A", "b")]
    assert (form["memory_mb"].value(), form["seconds"].value()) == (77, None)


def test_lines_after_the_first_ones_are_found_by_their_number(run_made: RunMaker) -> None:
    run = run_made("running", lines=[["out", "one"]])
    step = run.steps.get()
    log_grown(step, [["out", "two"], ["out", "three"]], first=2)
    assert [line.text for line in selectors.log_lines(step, after=2)] == ["three"]
