"""Uploading scripts and starting runs from pages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.pipelines.models import Run, Script, ScriptVersion
from portal.web.views import scripts as views
from portal.workspaces.models import Workspace

from .conftest import WorkspaceMaker

pytestmark = pytest.mark.django_db


def upload(**files: str) -> list[SimpleUploadedFile]:
    return [SimpleUploadedFile(name.replace("__", "."), text.encode()) for name, text in files.items()]


@pytest.fixture
def script_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "file_text", lambda version, path: f"# {path}\n<b>x</b>")


def test_files_keep_their_folders(browser: Client, owner: User, cloud_account: CloudAccount) -> None:
    form = {
        "name": "Weather",
        "files": upload(main__py="print(1)\n", a__py="x = 1\n"),
        "paths": json.dumps(["main.py", "lib/a.py"]),
    }
    response = browser.post(reverse("script_new"), form)
    version = ScriptVersion.objects.get()
    assert response.headers["Location"] == reverse("script", args=[version.script_id])
    assert [file["path"] for file in version.files] == ["lib/a.py", "main.py"]
    html = browser.get(response.headers["Location"], {"file": "lib/a.py"}).content.decode()
    assert 'aria-label="lib/a.py"' in html


@pytest.mark.parametrize("paths", ["", "nonsense", '["x.py"]', '["../../etc/main.py/y"]', "[1]", '{"a": 1}'])
def test_paths_that_do_not_fit_are_left_aside(browser: Client, cloud_account: CloudAccount, paths: str) -> None:
    browser.post(reverse("script_new"), {"name": "W", "files": upload(main__py="print(1)\n"), "paths": paths})
    assert [file["path"] for file in ScriptVersion.objects.get().files] == ["main.py"]


def test_a_path_that_climbs_out_is_refused_in_words(browser: Client, cloud_account: CloudAccount) -> None:
    form = {"name": "W", "files": upload(main__py="print(1)\n"), "paths": '["../main.py"]'}
    response = browser.post(reverse("script_new"), form)
    assert response.status_code == 422
    assert "points outside the upload" in response.content.decode()
    assert not Script.objects.exists()


def test_nothing_chosen_is_said_at_the_field(browser: Client) -> None:
    response = browser.post(reverse("script_new"), {"name": "W"})
    assert response.context["form"].errors["files"]


def test_another_version(browser: Client, cloud_account: CloudAccount) -> None:
    browser.post(reverse("script_new"), {"name": "W", "files": upload(main__py="print(1)\n")})
    script = Script.objects.get()
    address = reverse("script_upload", args=[script.pk])
    browser.post(address, {"files": upload(main__py="print(1)\n")})
    assert script.versions.count() == 1
    browser.post(address, {"files": upload(main__py="print(2)\n")})
    assert script.versions.count() == 2
    response = browser.post(address, {"files": upload(readme__md="x")})
    assert response.status_code == 422
    assert "data-open-now" in response.content.decode()


def test_a_file_is_shown_as_text_and_not_as_markup(browser: Client, version: ScriptVersion, script_shown: None) -> None:
    html = browser.get(reverse("script", args=[version.script_id])).content.decode()
    assert "&lt;" in html
    assert "<b>" not in html


def test_a_file_that_is_not_there_leaves_the_page_whole(browser: Client, version: ScriptVersion) -> None:
    response = browser.get(reverse("script", args=[version.script_id]), {"file": "nothing.py"})
    assert response.status_code == 200
    assert "no such file" in response.content.decode()
    assert browser.get(reverse("script", args=[version.script_id]), {"version": "7"}).status_code == 404


def start(browser: Client, version: ScriptVersion, place: Workspace, **more: Any) -> Any:
    form = {"workspace": place.pk, "version": "1", "arguments": "", "name": ""} | more
    return browser.post(reverse("script_run", args=[version.script_id]), form)


def test_a_run_is_started_with_all_that_was_typed(
    browser: Client, version: ScriptVersion, workspace: Workspace
) -> None:
    response = start(
        browser,
        version,
        workspace,
        arguments="--year 2024 'two words' \"\"",
        variable=["A", "", "B"],
        value=["1", "ignored", "x y"],
        seconds="60",
        name="Test",
    )
    run = Run.objects.get()
    assert response.headers["Location"] == reverse("run", args=[run.pk])
    step = run.steps.get()
    assert step.arguments == ["--year", "2024", "two words", ""]
    assert step.environment == {"A": "1", "B": "x y"}
    assert (step.limits["seconds"], step.limits["processes"], run.name) == (60, 256, "Test")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"arguments": "'open"}, "A quote is opened and not closed."),
        ({"variable": ["AWS_KEY"], "value": ["x"]}, "are set by Orca"),
        ({"variable": ["1X"], "value": ["x"]}, "no name for a variable"),
        ({"seconds": "0"}, "seconds must be from"),
        ({"memory_mb": "many"}, "Enter a whole number"),
        ({"workspace": "9"}, "not one of the available choices"),
    ],
)
def test_what_cannot_be_run_is_said_and_what_was_typed_stays(
    browser: Client, version: ScriptVersion, workspace: Workspace, script_shown: None, more: dict[str, Any], said: str
) -> None:
    response = start(browser, version, workspace, **({"name": "My run"} | more))
    html = response.content.decode()
    assert response.status_code == 422
    assert said in html.replace("&#x27;", "'")
    assert "My run" in html
    assert not Run.objects.exists()


def test_another_persons_workspace_is_no_choice(
    browser: Client, outsider: User, version: ScriptVersion, workspace_made: WorkspaceMaker, script_shown: None
) -> None:
    theirs = workspace_made(name="Theirs", by=outsider)
    assert start(browser, version, theirs).status_code == 422
    assert not Run.objects.exists()


def test_a_ready_workspace_is_offered_first(
    browser: Client, version: ScriptVersion, workspace_made: WorkspaceMaker, script_shown: None
) -> None:
    for state in ("stopped", "ready", "applying", "failed", "destroyed"):
        workspace_made(state, name=state)
    form = browser.get(reverse("script", args=[version.script_id])).context["form"]
    assert [label.split()[0] for _, label in form.fields["workspace"].choices] == ["ready", "applying", "stopped"]


def test_without_a_workspace_the_form_leads_to_one(browser: Client, version: ScriptVersion, script_shown: None) -> None:
    html = browser.get(reverse("script", args=[version.script_id])).content.decode()
    assert "needs a workspace" in html


def test_archiving(browser: Client, version: ScriptVersion) -> None:
    browser.post(reverse("script_archive", args=[version.script_id]))
    assert reverse("script", args=[version.script_id]) not in browser.get(reverse("script_list")).content.decode()
    assert browser.get(reverse("script", args=[version.script_id])).status_code == 404


def test_a_file_above_the_limit_is_said_at_the_field(
    browser: Client, cloud_account: CloudAccount, settings: Any
) -> None:
    settings.UPLOAD_LIMIT_MB = 1
    body = {"name": "large", "files": SimpleUploadedFile("main.py", b"x" * 1_000_001)}
    shown = browser.post("/scripts/new/", body).content.decode()
    assert "This is more than 1 MB." in shown
    assert "At most 1 MB together" in shown
    assert not Script.objects.exists()
