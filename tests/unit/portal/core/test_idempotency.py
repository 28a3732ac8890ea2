"""``Idempotency-Key``: the same answer for the same request, and the work done once."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.core.models import IdempotencyKey
from portal.pipelines.models import ScriptVersion
from portal.workspaces.models import Workspace
from tests.people import api_of

URL = "/api/v1/workspaces/"


def post(api: APIClient, name: str = "lab", key: str = "k1") -> Any:
    return api.post(URL, {"name": name}, headers={"Idempotency-Key": key})


@pytest.fixture(autouse=True)
def _cloud(cloud_account: CloudAccount) -> None:
    """Workspaces can be asked for."""


def test_a_repeat_gets_the_first_answer(api: APIClient) -> None:
    first, second = post(api), post(api)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    assert second.headers["Idempotent-Replay"] == "true"
    assert Workspace.objects.count() == 1


def test_another_request_with_the_same_key_is_refused(api: APIClient) -> None:
    post(api)
    answer = post(api, name="other")
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


def test_a_failure_is_not_kept(api: APIClient) -> None:
    assert post(api, name="").status_code == 400
    assert not IdempotencyKey.objects.exists()
    assert post(api).status_code == 202


def test_keys_belong_to_people(api: APIClient, outsider: User) -> None:
    post(api)
    assert post(api_of(outsider)).headers.get("Idempotent-Replay") is None
    assert Workspace.objects.count() == 2


def test_a_long_key_is_refused(api: APIClient) -> None:
    assert post(api, key="x" * 129).status_code == 422


def sent(api: APIClient, **files: str) -> Any:
    """The answer to an upload of these files, always with one key."""
    parts = [SimpleUploadedFile(f"{name}.py", text.encode()) for name, text in files.items()]
    fields = {"name": "w", "entrypoint": "main.py", "files": parts}
    return api.post("/api/v1/scripts/", fields, format="multipart", headers={"Idempotency-Key": "k1"})


def test_the_same_files_again_are_the_same_request(api: APIClient) -> None:
    first, second = sent(api, main="print(1)", lib="x = 1"), sent(api, main="print(1)", lib="x = 1")
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["Idempotent-Replay"] == "true"
    assert ScriptVersion.objects.get().size == len("print(1)x = 1")


@pytest.mark.parametrize(
    "other",
    [
        {"main": "print(2)", "lib": "x = 1"},
        {"main": "print(1)", "other": "x = 1"},
        {"other": "print(1)", "lib": "x = 1"},
        {"main": "print(1)"},
        {"lib": "x = 1"},
    ],
)
def test_other_files_with_the_same_key_are_refused(api: APIClient, other: dict[str, str]) -> None:
    sent(api, main="print(1)", lib="x = 1")
    answer = sent(api, **other)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
