"""Files that programs upload, and the folders that they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from pytest_django import Settings
from rest_framework.test import APIClient

from portal.clouds.models import CloudAccount
from portal.pipelines.models import Script, ScriptVersion

pytestmark = pytest.mark.django_db
SCRIPTS = "/api/v1/scripts/"


@pytest.fixture(autouse=True)
def _cloud(cloud_account: CloudAccount) -> None:
    """Bundles have a place to be kept in."""


def sent(api: APIClient, names: Sequence[str], *, to: str = SCRIPTS, **more: Any) -> Any:
    """The answer to these files; each file's name is its content."""
    files = [SimpleUploadedFile(name, name.encode()) for name in names]
    return api.post(to, {"name": "Weather", "files": files, **more}, format="multipart")


def paths_kept() -> list[str]:
    return [file["path"] for file in ScriptVersion.objects.get().files]


def test_files_keep_their_folders(api: APIClient) -> None:
    answer = sent(api, ["main.py", "a.py", "a.py"], paths=["main.py", "lib/a.py", "lib/deep er/ä.py"])
    assert answer.status_code == 201
    assert [file["path"] for file in answer.json()["files"]] == ["lib/a.py", "lib/deep er/ä.py", "main.py"]
    assert paths_kept() == ["lib/a.py", "lib/deep er/ä.py", "main.py"]


def test_another_version_keeps_them_too(api: APIClient) -> None:
    script = sent(api, ["main.py", "a.py"], paths=["main.py", "lib/a.py"]).json()["script"]
    versions = reverse("api_script_versions", args=[script])
    again = sent(api, ["main.py", "a.py"], to=versions, paths=["main.py", "lib/a.py"])
    assert (again.status_code, again.json()["number"]) == (201, 1)
    moved = sent(api, ["main.py", "a.py"], to=versions, paths=["main.py", "other/a.py"], entrypoint="other/a.py")
    assert (moved.json()["number"], moved.json()["entrypoint"]) == (2, "other/a.py")


def test_without_paths_the_names_count(api: APIClient) -> None:
    assert sent(api, ["main.py", "a.py"]).status_code == 201
    assert paths_kept() == ["a.py", "main.py"]


@pytest.mark.parametrize("paths", [["main.py"], ["main.py", "lib/a.py", "lib/b.py"]])
def test_a_path_too_few_or_too_many_is_refused(api: APIClient, paths: list[str]) -> None:
    answer = sent(api, ["main.py", "a.py"], paths=paths)
    said = answer.json()
    assert (answer.status_code, said["code"]) == (400, "invalid")
    assert f"these are {len(paths)} for 2" in said["fields"]["paths"]
    assert not Script.objects.exists()


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("../main.py", "bad_file_name"),
        ("lib/../../main.py", "bad_file_name"),
        ("/etc/main.py", "bad_file_name"),
        ("..\\main.py", "bad_file_name"),
        ("C:\\main.py", "bad_file_name"),
        ("a\nb/main.py", "bad_file_name"),
        ("x" * 300 + "/main.py", "bad_file_name"),
        (".", "bad_file_name"),
        ("other.py", "duplicate_file"),
        ("other.py/main.py", "duplicate_file"),
    ],
)
def test_a_path_that_makes_no_sense_is_refused(api: APIClient, path: str, code: str) -> None:
    answer = sent(api, ["main.py", "other.py"], paths=[path, "other.py"])
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert not Script.objects.exists()


@pytest.mark.parametrize("path", ["", "a\0b.py"])
def test_a_path_that_is_no_text_is_refused_at_its_place(api: APIClient, path: str) -> None:
    answer = sent(api, ["main.py", "other.py"], paths=["main.py", path])
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["paths.1"])


def test_as_many_files_as_a_request_may_hold_have_paths(api: APIClient) -> None:
    names = ["main.py", *(f"{number}.txt" for number in range(999))]
    answer = sent(api, names, paths=[f"deep/{name}" for name in names], description="many", entrypoint="deep/main.py")
    assert (answer.status_code, len(answer.json()["files"])) == (201, 1000)


def test_more_files_than_that_are_refused_in_words(api: APIClient) -> None:
    answer = sent(api, ["main.py", *(f"{number}.txt" for number in range(1000))])
    assert (answer.status_code, answer.json()["code"]) == (400, "too_many_files")
    assert "zip" in answer.json()["hint"]


@pytest.mark.parametrize("size", [1_000_001, 3_000_000])
def test_what_is_above_the_limit_is_refused_and_leaves_nothing(api: APIClient, settings: Settings, size: int) -> None:
    settings.UPLOAD_LIMIT_MB = 1
    files = [SimpleUploadedFile("main.py", b"print(1)"), SimpleUploadedFile("data.csv", b"x" * size)]
    answer = api.post(SCRIPTS, {"name": "Weather", "files": files}, format="multipart")
    said = answer.json()
    assert (answer.status_code, said["code"]) == (422, "too_large")
    assert said["message"] == "This is more than 1 MB."
    assert said["hint"] == "Put data into the workspace's bucket and let the script read it from there."
    assert said["fields"] == {"files": "at most 1 MB together"}
    assert not Script.objects.exists()


def test_what_is_just_at_the_limit_is_taken(api: APIClient, settings: Settings) -> None:
    settings.UPLOAD_LIMIT_MB = 1
    files = [SimpleUploadedFile("main.py", b"x" * 1_000_000)]
    assert api.post(SCRIPTS, {"name": "Weather", "files": files}, format="multipart").status_code == 201


def test_a_zip_that_is_none_leaves_nothing_behind(api: APIClient) -> None:
    zipped = SimpleUploadedFile("project.zip", b"this is no zip", content_type="application/zip")
    answer = api.post(SCRIPTS, {"name": "Weather", "files": [zipped]}, format="multipart")
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_zip")
    assert not Script.objects.exists()
