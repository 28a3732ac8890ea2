"""What the agent is told is checked before it is believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.orca_agent.fields import Malformed
from agents.orca_agent.settings import Place, Settings, passed_on
from tests.unit.agents.orca_agent.doubles import WORKSPACE

PLACE = Place(WORKSPACE, "eu-central-1", "orca-x")
CONTROL = {
    "workspace": WORKSPACE,
    "region": "eu-central-1",
    "bucket": "orca-x",
    "tasks_queue": "orca-x-tasks.fifo",
    "events_queue_url": "http://sqs/1/orca-events",
    "signing_key": "ab" * 32,
    "slots": 3,
    "version": 1,
}


def parse(**changes: Any) -> Settings:
    return Settings.parse(json.dumps({**CONTROL, **changes}).encode(), PLACE)


def test_the_object_that_terraform_writes_is_understood() -> None:
    settings = parse(future="ignored")
    assert settings == Settings(
        WORKSPACE,
        "eu-central-1",
        "orca-x",
        "orca-x-tasks.fifo",
        "http://sqs/1/orca-events",
        bytes.fromhex("ab" * 32),
        3,
    )


@pytest.mark.parametrize("slots", [None, 0])
def test_slots_default_to_the_processors(slots: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    assert parse(slots=slots).slots == 7


@pytest.mark.parametrize(
    "change",
    [
        {"workspace": "z" * 26},
        {"signing_key": "short"},
        {"signing_key": None},
        {"tasks_queue": 7},
        {"slots": -1},
        {"slots": "2"},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        parse(**change)


def test_the_signing_key_does_not_show_when_printed() -> None:
    assert "ab" * 8 not in repr(parse())


def test_the_place_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    path.write_text(json.dumps({"workspace": WORKSPACE, "region": "eu-central-1", "bucket": "orca-x"}))
    assert Place.read(path) == PLACE
    path.write_text("{}")
    with pytest.raises(Malformed):
        Place.read(path)


def test_steps_get_the_way_to_the_cloud_but_no_keys() -> None:
    environment = {
        "AWS_ENDPOINT_URL": "1",
        "AWS_ENDPOINT_URL_S3": "1",
        "AWS_REGION": "1",
        "https_proxy": "1",
        "PIP_INDEX_URL": "1",
        "AWS_ACCESS_KEY_ID": "no",
        "AWS_SECRET_ACCESS_KEY": "no",
        "AWS_SESSION_TOKEN": "no",
        "AWS_PROFILE": "no",
        "PYTHONPATH": "no",
        "HOME": "no",
    }
    assert set(passed_on(environment).values()) == {"1"}
    assert len(passed_on(environment)) == 5
