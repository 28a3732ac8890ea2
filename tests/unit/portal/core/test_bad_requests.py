"""Requests that cannot be read, or ask for what cannot be: a problem that says why, and never a fault of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from django.db import OperationalError
from rest_framework.test import APIClient

from portal.accounts.models import User
from portal.pipelines.models import Run, ScriptVersion
from portal.workspaces.models import Workspace
from tests.people import api_of
from tests.unit.portal.pipelines.conftest import version, workspace

__all__ = ["version", "workspace"]

URL = "/api/v1/runs/"


def sent(api: APIClient, body: str | bytes, content_type: str = "application/json") -> dict[str, Any]:
    """The problem that a run of this body meets."""
    answer = api.post(URL, body, content_type=content_type)
    assert answer.status_code in {400, 404, 415, 422}, answer.content
    problem: dict[str, Any] = answer.json()
    assert set(problem) == {"code", "message", "hint", "fields"}
    assert problem["message"]
    return problem


@pytest.mark.parametrize(
    "body",
    ["{", "[]", "null", '"x"', "", "[" * 100_000, '{"a":' * 5_000, '{"a":' * 40 + "1" + "}" * 40, b'{"name":"\xff"}'],
    ids=["half", "list", "null", "text", "nothing", "deep list", "deep object", "deeper than needed", "latin-1"],
)
def test_a_body_that_cannot_be_read(api: APIClient, body: str | bytes) -> None:
    assert sent(api, body)["code"] == "invalid"


@pytest.mark.parametrize("number", ["9" * 5_000, "1e400", "NaN", "-1", "0", "true", "1.5", '"one"'])
def test_a_number_that_is_none(api: APIClient, number: str) -> None:
    assert sent(api, f'{{"version": {number}}}')["code"] == "invalid"


@pytest.mark.parametrize("kind", ["text/plain", "application/json; charset=klingon", "multipart/form-data", "x"])
def test_a_kind_of_content_that_is_not_known(api: APIClient, kind: str) -> None:
    sent(api, b"x", kind)


def test_more_than_is_read_at_once(api: APIClient) -> None:
    problem = sent(api, json.dumps({"name": "n" * 3_000_000}))
    assert (problem["code"], problem["hint"]) == ("too_large", "Send what is large as a file.")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": "\ud800"}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"environment": {"\ud800": "a"}}, "environment"),
        ({"environment": {"A": "\ud800"}}, "environment.A"),
        ({"environment": {"A\n": "a"}}, "environment"),
        ({"environment": {"A=B": "a"}}, "environment"),
        ({"environment": {"A": ["a"]}}, "environment.A"),
        ({"environment": {f"A{number}": "a" for number in range(101)}}, "environment"),
        ({"environment": []}, "environment"),
        ({"arguments": ["a\0"]}, "arguments.0"),
        ({"arguments": ["a", "\udfff"]}, "arguments.1"),
        ({"arguments": "--year 2024"}, "arguments"),
        ({"arguments": ["x"] * 201}, "arguments"),
        ({"limits": {"seconds": 10**30}}, "limits"),
        ({"limits": {"seconds": True}}, "limits.seconds"),
        ({"limits": {"\0\ud800": 1}}, "limits"),
        ({"limits": [1]}, "limits"),
        ({"workspace": None}, "workspace"),
        ({"script": ["x"]}, "script"),
    ],
)
def test_what_cannot_be_run_names_its_field(
    api: APIClient, workspace: Workspace, version: ScriptVersion, given: dict[str, Any], field: str
) -> None:
    asked = {"workspace": workspace.pk, "script": version.script_id, **given}
    assert field in sent(api, json.dumps(asked))["fields"]
    assert not Run.objects.exists()


@pytest.mark.parametrize("number", [2, 2**31, 2**63, 10**30])
def test_a_version_that_is_not_there(api: APIClient, workspace: Workspace, version: ScriptVersion, number: int) -> None:
    asked = {"workspace": workspace.pk, "script": version.script_id, "version": number}
    assert sent(api, json.dumps(asked))["message"] == "There is no such version."


@pytest.mark.parametrize("what", ["workspace", "script"])
def test_what_is_not_there_and_what_is_anothers_are_not_told_apart(
    api: APIClient, outsider_api: APIClient, workspace: Workspace, version: ScriptVersion, what: str
) -> None:
    asked = {"workspace": workspace.pk, "script": version.script_id}
    missing = api.post(URL, {**asked, what: "0" * 26})
    foreign = outsider_api.post(URL, asked)
    assert (missing.status_code, foreign.status_code) == (404, 404)
    assert missing.json()["code"] == foreign.json()["code"] == "not_found"
    filters = [client.get(URL, {what: asked[what]}) for client in (outsider_api, api)]
    nothing = outsider_api.get(URL, {what: "0" * 26})
    assert [answer.status_code for answer in (*filters, nothing)] == [200] * 3
    assert filters[0].json() == nothing.json()


@pytest.mark.parametrize("word", ["x", "", "%00", "%ff", "queued&state=x"])
def test_a_filter_that_makes_no_sense(api: APIClient, owner: User, word: str) -> None:
    answer = api.get(f"{URL}?state={word}")
    assert answer.status_code in {200, 400}
    assert "results" in answer.json() or "state" in answer.json()["fields"]


@pytest.mark.parametrize("place", ["runs/%00/", "runs/ä/", "ssh-keys/%00/", "ssh-keys/%FF/", "scripts/" + "x" * 5_000])
def test_a_name_that_nothing_can_have(api: APIClient, place: str) -> None:
    answer = api.get(f"/api/v1/{place}", follow=True)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("fault", [OperationalError("database is locked"), redis.ConnectionError("gone")], ids=repr)
def test_what_does_not_answer_for_a_moment_is_told_as_such(
    owner: User, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def broken(*_: object) -> None:
        raise fault

    api = api_of(owner)
    monkeypatch.setattr("portal.pipelines.selectors.runs_of", broken)
    answer = api.get("/api/v1/runs/")
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "busy", "1")
