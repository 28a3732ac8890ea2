"""Pipelines and schedules: applied as often as one likes, refused with file, line and column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.agents.orca_cli.conftest import (
    RUN,
    SCRIPT,
    WORKSPACE,
    Done,
    Portal,
    answer,
    events,
    page,
    problem,
    run,
    step,
    workspace,
)

Orca = Callable[..., Done]
pytestmark = pytest.mark.usefixtures("logged_in")
PIPELINE = "01k00000000000000000000005"
SCHEDULE = "01k00000000000000000000006"
YAML = """name: etl
workspace: lab
steps:
  - name: fetch
    script: fetch-data
  - name: count
    script: count
  - name: again
    script: fetch-data
"""


def version(number: int) -> dict[str, Any]:
    return {"id": "v", "pipeline": PIPELINE, "number": number, "source": YAML, "definition": {"name": "etl"}}


@pytest.fixture
def file(home: Path) -> Path:
    path = home / "etl" / "pipeline.yaml"
    path.parent.mkdir()
    path.write_text(YAML)
    return path


@pytest.fixture
def saved(portal: Portal) -> Portal:
    """A pipeline that is there."""
    portal.says("GET", "pipelines/", page({"id": PIPELINE, "name": "etl"}))
    return portal


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        (answer(version(1), 201), "created"),
        (answer(version(2), 201), "changed"),
        (answer(version(2), 200), "unchanged"),
    ],
)
def test_apply_says_what_became_of_it(orca: Orca, portal: Portal, file: Path, told: Any, outcome: str) -> None:
    portal.says("POST", "pipelines/", told)
    done = orca("pipeline", "apply", str(file), "--json")
    assert done.json["outcome"] == outcome
    assert portal.bodies("POST", "pipelines/") == [{"source": YAML}]
    assert orca("pipeline", "apply", "-", typed=YAML).out == f"{outcome}: pipeline etl version {done.json['version']}\n"


def test_apply_uploads_the_scripts_beside_the_file(orca: Orca, portal: Portal, file: Path) -> None:
    (file.parent / "scripts" / "fetch-data").mkdir(parents=True)
    (file.parent / "scripts" / "fetch-data" / "main.py").write_text("print(1)")
    (file.parent / "other.py").write_text("print(2)")
    pushed = {"id": "v", "script": SCRIPT, "number": 1, "files": [], "entrypoint": "main.py"}
    portal.says("GET", "scripts/", page())
    portal.says("POST", "scripts/", answer(pushed, 201))
    portal.says("POST", "pipelines/", answer(version(1), 201))
    done = orca("pipeline", "apply", str(file))
    assert done.out == "created: script fetch-data version 1\ncreated: pipeline etl version 1\n"
    [sent] = portal.sent("POST", "scripts/")
    assert b"print(1)" in sent.content
    orca("pipeline", "apply", str(file), "--no-scripts")
    assert len(portal.sent("POST", "scripts/")) == 1


def test_mistakes_are_named_with_file_line_and_column(orca: Orca, portal: Portal, file: Path) -> None:
    errors = [
        {"line": 5, "column": 13, "field": "steps.0.script", "message": "You have no script fetch-data."},
        {"line": 9, "column": 1, "field": "", "message": "Something of the whole."},
    ]
    portal.says("POST", "pipelines/validate/", answer({"errors": errors}))
    portal.says("POST", "pipelines/", problem("bad_pipeline", 422, "Line 5, steps.0.script: …"))
    places = f"{file}:5:13: steps.0.script: You have no script fetch-data.\n{file}:9:1: Something of the whole.\n"
    done = orca("pipeline", "validate", str(file))
    assert (done.code, done.out) == (1, places)
    assert orca("pipeline", "validate", str(file), "--json").json == {"errors": errors}
    applied = orca("pipeline", "apply", str(file))
    assert (applied.code, applied.out) == (1, "")
    assert places in applied.err
    portal.says("POST", "pipelines/validate/", answer({"errors": []}))
    assert orca("pipeline", "validate", str(file)).code == 0


@pytest.mark.parametrize("source", ["{", "steps: 3", "steps: [1, {script: 2}]", "a: &a [*a]", "x" * 10_000])
def test_a_file_that_is_no_pipeline_is_the_portals_to_refuse(
    orca: Orca, portal: Portal, file: Path, source: str
) -> None:
    file.write_text(source)
    portal.says("POST", "pipelines/validate/", answer({"errors": []}))
    portal.says("POST", "pipelines/", problem("bad_pipeline", 422))
    assert orca("pipeline", "apply", str(file)).code == 1
    assert portal.bodies("POST", "pipelines/") == [{"source": source}]


def test_a_run_is_started_or_followed(orca: Orca, saved: Portal) -> None:
    saved.says("POST", f"pipelines/{PIPELINE}/runs/", answer(run("queued"), 201))
    started = orca("pipeline", "run", "etl", "-p", "day=2026-11-21", "-p", "note=a=b")
    assert (started.code, started.out) == (0, f"{RUN}\n")
    assert saved.bodies("POST", f"pipelines/{PIPELINE}/runs/") == [{"parameters": {"day": "2026-11-21", "note": "a=b"}}]
    other = "01k00000000000000000000007"
    ended = run("failed", step(state="succeeded", exit_code=0), step(id=other, name="two", state="failed", exit_code=9))
    saved.says("GET", f"runs/{RUN}/events/", events(("run", ended), ("end", None)))
    saved.says("GET", f"runs/{RUN}/", answer(ended))
    done = orca("pipeline", "run", "etl", "--follow")
    assert done.code == 9
    assert "two: failed" in done.err


def test_a_pipeline_that_is_busy_is_no_failure_of_a_script(orca: Orca, saved: Portal) -> None:
    busy = problem("pipeline_busy", 409, "etl is running.", "Wait, or stop it.")
    saved.says("POST", f"pipelines/{PIPELINE}/runs/", busy)
    assert orca("pipeline", "run", "etl", "-f").code == 125


def test_stop_stops_what_is_open(orca: Orca, saved: Portal) -> None:
    queued = {"id": "01k00000000000000000000008", "state": "queued"}
    saved.says("GET", "runs/", page({"id": RUN, "state": "running"}), page(queued))
    saved.says("POST", f"runs/{RUN}/cancel/", answer(run(), 202))
    saved.says("POST", f"runs/{queued['id']}/cancel/", answer(run(), 202))
    assert orca("pipeline", "stop", "etl").out == "2 runs of etl being stopped.\n"
    assert [dict(r.url.params)["state"] for r in saved.sent("GET", "runs/")] == ["running", "queued"]


def schedule(**more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "id": SCHEDULE,
        "name": "nightly",
        "enabled": True,
        "disabled_reason": "",
        "kind": "cron",
        "expression": "30 2 * * *",
        "every": None,
        "unit": "",
        "at": None,
        "zone": "Europe/Berlin",
        "words": "every day at 02:30",
        "action": "pipeline",
        "pipeline": PIPELINE,
        "next_at": "2026-11-22T01:30:00Z",
        "last_fire": None,
    }
    return given | more


COMING = {"words": "every day", "coming": [{"utc": "…", "local": "2026-11-22T02:30:00+01:00", "note": ""}]}
SET = ("schedule", "set", "nightly", "--pipeline", "etl", "--cron", "30 2 * * *", "--zone", "Europe/Berlin")


def test_a_schedule_is_made_once_and_then_only_changed(orca: Orca, saved: Portal) -> None:
    saved.says("GET", "schedules/", page())
    saved.says("POST", "schedules/", answer(schedule(), 201))
    saved.says("POST", "schedules/preview/", answer(COMING))
    done = orca(*SET)
    assert done.out == "created: nightly, every day at 02:30\n  2026-11-22T02:30:00+01:00\n"
    assert saved.bodies("POST", "schedules/") == [
        {
            "name": "nightly",
            "kind": "cron",
            "expression": "30 2 * * *",
            "zone": "Europe/Berlin",
            "enabled": True,
            "action": "pipeline",
            "pipeline": PIPELINE,
            "parameters": {},
        }
    ]
    saved.says("GET", "schedules/", page(schedule()))
    saved.says("PATCH", f"schedules/{SCHEDULE}/", answer(schedule(next_at="2026-11-23T01:30:00Z")))
    assert orca(*SET, "--json").json["outcome"] == "unchanged"
    saved.says("PATCH", f"schedules/{SCHEDULE}/", answer(schedule(zone="UTC")))
    assert orca(*SET, "--json").json["outcome"] == "changed"
    assert len(saved.sent("POST", "schedules/")) == 1


@pytest.mark.parametrize(
    ("arguments", "timing"),
    [
        (["--every", "15m"], {"kind": "interval", "every": 15, "unit": "minutes", "zone": "UTC"}),
        (["--every", "3 days"], {"kind": "interval", "every": 3, "unit": "days", "zone": "UTC"}),
        (
            ["--at", "2027-01-31T06:00", "--zone", "Asia/Tokyo"],
            {"kind": "once", "at": "2027-01-31T06:00", "zone": "Asia/Tokyo"},
        ),
    ],
)
def test_times_are_said_as_people_say_them(
    orca: Orca, portal: Portal, arguments: list[str], timing: dict[str, Any]
) -> None:
    portal.says("POST", "schedules/preview/", answer(COMING))
    assert orca("schedule", "preview", *arguments).code == 0
    assert portal.bodies("POST", "schedules/preview/") == [timing]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pipeline", "etl"], "Say when."),
        (["--pipeline", "etl", "--cron", "* * * * *", "--every", "5m"], "Say when."),
        (["--every", "5 moons", "--pipeline", "etl"], "is no time"),
        (["--every", "5m"], "Say what it starts."),
        (["--every", "5m", "--pipeline", "etl", "--stop", "lab"], "Say what it starts."),
    ],
)
def test_half_a_schedule_is_none(orca: Orca, saved: Portal, arguments: list[str], said: str) -> None:
    done = orca("schedule", "set", "x", *arguments)
    assert done.code == 2
    assert said in done.err


def test_a_schedule_can_stop_a_workspace(orca: Orca, portal: Portal) -> None:
    portal.says("GET", "workspaces/", page(workspace()))
    portal.says("GET", "schedules/", page())
    portal.says("POST", "schedules/", answer(schedule(enabled=False), 201))
    assert orca("schedule", "set", "evening", "--stop", "lab", "--cron", "0 19 * * *", "--disabled").code == 0
    [body] = portal.bodies("POST", "schedules/")
    assert (body["action"], body["workspace"], body["enabled"]) == ("stop", WORKSPACE, False)
