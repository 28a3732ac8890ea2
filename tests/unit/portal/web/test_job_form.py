"""The form of a job: what becomes of what is typed, what is said of what is wrong, and the preview."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
import yaml
from django.test import Client
from django.urls import reverse

from portal.accounts.models import User
from portal.core.errors import CloudFault, Invalid
from portal.jobs.models import Job
from portal.jobs.preview import Preview
from portal.jobs.submission import submission_check
from portal.pipelines.models import ScriptVersion
from portal.web.job_form import JobForm
from portal.web.job_form_filling import initial_of, place_of
from portal.web.job_words import conditions, conditions_text
from portal.workspaces.models import Workspace

from .conftest import assert_no_inline
from .jobs_made import JobMaker, job_made

__all__ = ["job_made"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def typed(workspace: Workspace, version: ScriptVersion) -> dict[str, Any]:
    """A form filled in."""
    return {
        "name": "blur",
        "workspace": workspace.pk,
        "script": version.script_id,
        "arguments": "--radius 3 'two words'",
        "container": "none",
        "kind": "stac",
        "url": "https://example.org/catalog.json",
        "collections": "CBERS4MUX, CBERS4WFI",
        "west": "-60.5",
        "south": "-12",
        "east": "-48",
        "north": "-3.5",
        "since": "2024-06-01T00:00:00Z",
        "query": "eo:cloud_cover <= 20\nplatform in CBERS-4, CBERS-4A",
        "assets": "thumbnail",
        "limit": "500",
        "nodes": "4",
        "by": "count",
        "seconds": "120",
        "budget": "1.50",
        "keep_days": "30",
        "retries": "1",
    }


def text(answer: Any) -> str:
    assert_no_inline(answer.content.decode())
    return " ".join(unescape(answer.content.decode()).split())


def submission(owner: User, typed: dict[str, Any], **more: Any) -> dict[str, Any]:
    form = JobForm(typed | more, owner=owner)
    assert form.is_valid(), form.errors
    return form.submission()


def test_a_workspace_that_cannot_run_containers_is_named_with_the_way_out(
    browser: Client, workspace: Workspace, typed: dict[str, Any]
) -> None:
    workspace.instances.update(engine="none")
    contained = typed | {"container": "image", "image": "orca/python"}
    answer = browser.post(reverse("job_new"), contained)
    assert (answer.status_code, Job.objects.count()) == (409, 0)
    said = "here is no Docker engine on i-Lab. New instances bring Docker"
    assert said in text(answer)
    assert said in text(browser.post(reverse("job_preview"), contained))
    assert "no Docker engine" in text(browser.get(reverse("workspace", args=[workspace.pk])))


def test_what_is_typed_is_what_is_submitted(browser: Client, owner: User, typed: dict[str, Any]) -> None:
    answer = browser.post(reverse("job_new"), typed)
    job = Job.objects.get()
    assert answer.headers["Location"] == reverse("job", args=[job.pk])
    assert job.definition["arguments"] == ["--radius", "3", "two words"]
    data = job.definition["data"]
    assert data["bbox"] == [-60.5, -12, -48, -3.5]
    assert data["time"][1] == ".."
    assert data["query"] == {"eo:cloud_cover": {"lte": 20}, "platform": {"in": ["CBERS-4", "CBERS-4A"]}}
    assert (job.nodes, job.budget) == (4, 1_500_000_000)
    assert job.definition["limits"]["seconds"] == 120


def test_each_kind_of_data_takes_its_own_fields(owner: User, typed: dict[str, Any]) -> None:
    bucket = submission(owner, typed, kind="bucket", key_prefix="files/in/", pattern="*.tif")
    assert bucket["data"] == {"kind": "bucket", "prefix": "files/in/", "pattern": "*.tif", "limit": 500}
    foreign = submission(owner, typed, kind="bucket", key_prefix="s3://open/scenes/", requester_pays="on")
    assert foreign["data"]["url"] == "s3://open/scenes/"
    assert foreign["data"]["requester_pays"] is True
    urls = submission(owner, typed, kind="urls", urls="https://a.org/1\n\n https://a.org/2 ")
    assert urls["data"] == {"kind": "urls", "urls": ["https://a.org/1", "https://a.org/2"]}
    image = submission(owner, typed, container="image", image="orca/python", network="on")
    assert image["container"] == {"image": "orca/python", "network": True}
    built = submission(owner, typed, container="dockerfile", dockerfile="Dockerfile", by="size", most_mb="50")
    assert built["container"] == {"dockerfile": "Dockerfile"}
    assert built["shards"] == {"by": "size", "most_mb": 50.0}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("west", "", "A box needs all four sides."),
        ("north", "91", "less than or equal to 90"),
        ("arguments", "'open", "A quote is opened and not closed."),
        ("query", "cloudy", "is not like eo:cloud_cover <= 20"),
        ("environment", "cloudy", "is not like NAME=value"),
        ("url", "", "This field is required."),
        ("nodes", "0", "greater than or equal to 1"),
        ("nodes", "1000", "From 1 to"),
        ("since", "yesterday", ""),
        ("since", "2024-06-01T00:00:00", ""),
        ("budget", "much", "Dollars and cents"),
        ("container", "dockerfile", ""),
        ("secrets", "MISSING", ""),
        ("seconds", "0", ""),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(
    browser: Client, typed: dict[str, Any], field: str, value: str, said: str
) -> None:
    answer = browser.post(reverse("job_new"), typed | {field: value, "dockerfile": "Dockerfile"})
    assert answer.status_code == 422
    shown = {"container": "dockerfile"}.get(field, field)
    html = text(answer)
    assert f'id="id_{shown}_error"' in html
    assert said in html
    assert not Job.objects.exists()


def test_a_box_that_is_upside_down_is_said_at_the_box(browser: Client, typed: dict[str, Any]) -> None:
    answer = browser.post(
        reverse("job_new"), typed | {"since": "2024-07-01T00:00:00Z", "until": "2024-06-01T00:00:00Z"}
    )
    assert answer.status_code == 422
    assert 'id="id_since_error"' in text(answer)


@pytest.mark.parametrize(
    ("part", "kind", "field"),
    [
        ("data.bbox.1", "stac", "west"),
        ("data.time.1", "stac", "until"),
        ("data.url", "bucket", "key_prefix"),
        ("data.query.eo:cloud_cover.lte", "stac", "query"),
        ("limits.seconds", "stac", "seconds"),
        ("shards.most_mb", "stac", "most_mb"),
        ("data", "urls", "urls"),
        ("input_job", "job", "input_job"),
        ("arguments.3", "stac", "arguments"),
    ],
)
def test_each_part_of_a_submission_has_its_field(part: str, kind: str, field: str) -> None:
    assert place_of(part, kind) == field


def test_conditions_are_read_and_written() -> None:
    said = 'a <= 20\na >= 1.5\nb = true\nc = "20"\nd != x y\ne in 1, two\nf ^= CBERS\ng *= 4'
    query = conditions(said)
    assert query["a"] == {"lte": 20, "gte": 1.5}
    assert query["b"] is True
    assert query["c"] == "20"
    assert query["e"] == {"in": [1, "two"]}
    assert conditions_text(query) == said
    with pytest.raises(ValueError, match="is not like"):
        conditions("a <=")


def test_an_earlier_job_is_begun_from_and_comes_to_the_same(
    browser: Client, owner: User, typed: dict[str, Any]
) -> None:
    given = typed | {"version": 1, "environment": "A=1", "network": "on", "container": "image", "image": "orca/python"}
    first = submission(owner, given)
    definition = submission_check(owner=owner, submission=first).definition
    begun = initial_of(definition) | {name: typed[name] for name in ("workspace", "script")} | {"version": 1}
    again = submission(owner, {name: value for name, value in begun.items() if value not in (None, False)})
    assert submission_check(owner=owner, submission=again).definition == definition


def test_the_form_begins_with_what_one_comes_from(browser: Client, job_made: JobMaker) -> None:
    job = job_made({"succeeded": 1}, phase="ended", run="succeeded", index_key="i", output_files=3)
    like = text(browser.get(reverse("job_new") + f"?like={job.pk}"))
    assert 'value="https://example.org/stac/catalog.json"' in like
    assert "eo:cloud_cover <= 20" in like
    earlier = text(browser.get(reverse("job_new") + f"?input_job={job.pk}"))
    assert f'<option value="{job.pk}" selected' in earlier


def test_the_form_as_yaml_names_things(browser: Client, typed: dict[str, Any]) -> None:
    html = text(browser.post(reverse("job_yaml"), typed))
    assert "script: Weather" in html
    raw = unescape(browser.post(reverse("job_yaml"), typed).content.decode())
    said = yaml.safe_load(raw.partition("<pre>")[2].partition("</pre>")[0])
    assert said["data"]["query"]["platform"] == {"in": ["CBERS-4", "CBERS-4A"]}
    assert "once every field is right" in text(browser.post(reverse("job_yaml"), typed | {"west": ""}))


def test_a_newcomer_is_told_what_is_lacking(browser: Client, owner: User) -> None:
    html = text(browser.get(reverse("job_new")))
    assert "A job needs a script to run" in html
    assert reverse("workspace_new") in html
    assert "Describe your first job" in text(browser.get(reverse("job_list")))


def previewed(browser: Client, typed: dict[str, Any], monkeypatch: pytest.MonkeyPatch, found: Any) -> str:
    def preview(**_: Any) -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr("portal.web.job_preview.preview", preview)
    return text(browser.post(reverse("job_preview"), typed))


def test_a_preview_counts_and_draws(browser: Client, typed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    print_ = {"id": "<script>alert(1)</script>", "bbox": [1, 2, 3, 4], "geometry": None, "datetime": "2024-06-01"}
    found = Preview(
        items=4_120,
        bytes=38_000_000,
        more=True,
        shards=64,
        footprints=[print_],
        estimate=31_000_000,
        estimate_most=240_000_000,
    )
    html = previewed(browser, typed, monkeypatch, found)
    for said in ("at least", "4,120", "38.0 MB", "64", "on 4 nodes", "$0.031", "$0.24 at most", "shows 1 of them"):
        assert said in html
    assert '<script id="footprints" type="application/json">' in html
    assert "<script>alert" not in browser.post(reverse("job_preview"), typed).content.decode()


def test_a_preview_says_that_nothing_fits(
    browser: Client, typed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Nothing fits this description." in previewed(browser, typed, monkeypatch, Preview(items=0, bytes=0))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Invalid("No.", fields={"data.bbox": "south is above north"}), "West</a>: South is above north"),
        (CloudFault("The catalogue does not answer."), "The catalogue does not answer."),
    ],
)
def test_a_preview_says_what_is_wrong(
    browser: Client, typed: dict[str, Any], monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    assert said in previewed(browser, typed, monkeypatch, error)
    assert "A box needs all four sides." in text(browser.post(reverse("job_preview"), typed | {"west": ""}))
