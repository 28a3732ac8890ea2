"""Everything about schedules for programs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from portal.pipelines.models import Run, Script
from portal.schedules import firing
from portal.schedules.models import Schedule
from portal.workspaces.models import Workspace

from .conftest import NOON, Clock

pytestmark = pytest.mark.django_db


@pytest.fixture
def body(clock: Clock, workspace: Workspace, script: Script) -> dict[str, Any]:
    return {
        "name": "nightly",
        "kind": "cron",
        "expression": "30 2 * * *",
        "zone": "Europe/Berlin",
        "action": "script",
        "script": script.pk,
        "workspace": workspace.pk,
        "arguments": ["--day", "today"],
        "limits": {"seconds": 60},
    }


def test_the_life_of_a_schedule(api: APIClient, clock: Clock, body: dict[str, Any]) -> None:
    made = api.post("/api/v1/schedules/", body)
    assert made.status_code == 201, made.json()
    found = made.json()
    assert (found["next_at"], found["missed"], found["words"]) == ("2026-11-22T01:30:00Z", "skip", "At 02:30 every day")
    address = f"/api/v1/schedules/{found['id']}/"
    assert api.get(address).json() == found
    assert [row["id"] for row in api.get("/api/v1/schedules/").json()["results"]] == [found["id"]]

    changed = api.patch(address, {"zone": "UTC", "name": "early"})
    assert changed.status_code == 200, changed.json()
    assert changed.json() == found | {"zone": "UTC", "name": "early", "next_at": "2026-11-22T02:30:00Z"}

    clock.set(2026, 11, 22, 2, 30, 1)
    firing.schedules_fire()
    fires = api.get(address + "fires/").json()["results"]
    assert [(fire["due_at"], fire["state"], fire["run_state"]) for fire in fires] == [
        ("2026-11-22T02:30:00Z", "fired", "queued")
    ]
    assert api.get(address).json()["last_fire"] == fires[0]

    ran = api.post(address + "run/")
    assert (ran.status_code, ran.json()["by_hand"], Run.objects.count()) == (201, True, 2)
    assert api.get(address + "fires/?by_hand=true").json()["results"] == [ran.json()]

    assert api.post(address + "disable/").json()["next_at"] is None
    assert api.post(address + "enable/").json()["enabled"] is True
    assert api.patch(address, {"enabled": False}).json()["enabled"] is False
    assert api.delete(address).status_code == 204
    assert api.get(address).status_code == 404


def test_a_change_says_only_what_changes(api: APIClient, body: dict[str, Any]) -> None:
    found = api.post("/api/v1/schedules/", body).json()
    address = f"/api/v1/schedules/{found['id']}/"
    every = api.patch(address, {"kind": "interval", "every": 2, "unit": "hours"}).json()
    assert (every["expression"], every["every"], every["arguments"]) == ("", 2, ["--day", "today"])
    stop = api.patch(address, {"action": "stop"}).json()
    assert (stop["script"], stop["arguments"], stop["limits"]) == (None, [], {})
    refused = api.patch(address, {"kind": "cron"})
    assert (refused.status_code, list(refused.json()["fields"])) == (422, ["expression"])
    assert api.get(address).json() == stop


def test_a_key_makes_one_of_two(api: APIClient, body: dict[str, Any]) -> None:
    first = api.post("/api/v1/schedules/", body, headers={"Idempotency-Key": "a"})
    again = api.post("/api/v1/schedules/", body, headers={"Idempotency-Key": "a"})
    assert (first.json()["id"], Schedule.objects.count()) == (again.json()["id"], 1)
    ran = [
        api.post(f"/api/v1/schedules/{first.json()['id']}/run/", headers={"Idempotency-Key": "b"}).json()
        for _ in range(2)
    ]
    assert ran[0] == ran[1]
    assert Run.objects.count() == 1


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"expression": "0 0 31 2 *"}, 422, "expression"),
        ({"zone": "Moon"}, 422, "zone"),
        ({"kind": "interval"}, 422, "unit"),
        ({"kind": "once", "at": "tomorrow"}, 400, "at"),
        ({"kind": "once", "at": "2020-01-01T00:00:00Z"}, 422, "at"),
        ({"kind": "solar"}, 400, "kind"),
        ({"name": " "}, 400, "name"),
        ({"script": ""}, 422, "script"),
        ({"script": "01hzzzzzzzzzzzzzzzzzzzzzzz"}, 404, None),
        ({"version": 9}, 404, None),
    ],
)
def test_what_cannot_be_is_a_problem(
    api: APIClient, body: dict[str, Any], change: dict[str, Any], status: int, field: str | None
) -> None:
    answer = api.post("/api/v1/schedules/", body | change)
    assert answer.status_code == status, answer.json()
    assert list(answer.json()["fields"]) == ([field] if field else [])
    assert not Schedule.objects.exists()


def test_a_preview_saves_nothing_and_needs_only_the_times(api: APIClient, clock: Clock) -> None:
    clock.set(2026, 10, 24, 1)
    asked = {"kind": "cron", "expression": "30 2 * * *", "zone": "Europe/Berlin"}
    answer = api.post("/api/v1/schedules/preview/", asked)
    assert answer.status_code == 200, answer.json()
    first, second = answer.json()["coming"][:2]
    assert first == {
        "utc": "2026-10-25T00:30:00Z",
        "local": "2026-10-25T02:30:00+02:00",
        "note": "this time comes twice that day; it runs the first time",
    }
    assert second["local"] == "2026-10-26T02:30:00+01:00"
    assert len(answer.json()["coming"]) == 5
    never = api.post("/api/v1/schedules/preview/", asked | {"expression": "0 0 30 2 *"})
    assert never.status_code == 422
    assert "never due" in never.json()["fields"]["expression"]


def test_nobody_sees_or_moves_what_is_anothers(api: APIClient, outsider_api: APIClient, body: dict[str, Any]) -> None:
    address = f"/api/v1/schedules/{api.post('/api/v1/schedules/', body).json()['id']}/"
    before = api.get(address).json()
    assert outsider_api.get("/api/v1/schedules/").json()["results"] == []
    for verb, rest in (
        ("get", ""),
        ("patch", ""),
        ("delete", ""),
        ("post", "run/"),
        ("post", "enable/"),
        ("post", "disable/"),
        ("get", "fires/"),
    ):
        assert getattr(outsider_api, verb)(address + rest).status_code == 404
    assert api.get(address).json() == before


def test_a_list_is_filtered(api: APIClient, clock: Clock, body: dict[str, Any], workspace: Workspace) -> None:
    api.post("/api/v1/schedules/", body)
    night = {"name": "night", "kind": "once", "at": (NOON + timedelta(days=1)).isoformat(), "action": "stop"}
    api.post("/api/v1/schedules/", night | {"workspace": workspace.pk})

    def names(query: str) -> list[str]:
        return [row["name"] for row in api.get(f"/api/v1/schedules/?{query}").json()["results"]]

    assert names("") == ["night", "nightly"]
    assert names("action=stop") == ["night"]
    assert names(f"workspace={workspace.pk}&kind=cron") == ["nightly"]
    assert names("enabled=false") == []
