"""Jobs: submitted from a file, followed by one bar, looked at shard by shard, fetched as one archive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.agents.orca_cli.conftest import (
    RUN,
    SCRIPT,
    STEP,
    WORKSPACE,
    Done,
    Portal,
    answer,
    lines,
    page,
    problem,
)

Orca = Callable[..., Done]
pytestmark = pytest.mark.usefixtures("logged_in")
JOB = "01k00000000000000000000009"
LINK = "https://bucket.example.org/archive?signature=1"
YAML = """name: blur
script: blur
data:
  kind: stac
  url: https://example.org/catalog.json
  time: [2024-06-01T00:00:00Z, ..]
nodes: 4
budget: 1.50
"""


def job(phase: str = "running", state: str = "running", *, states: dict[str, int] | None = None, **more: Any) -> Any:
    counted = states or {}
    over = sum(count for name, count in counted.items() if name not in {"queued", "running", "waiting"})
    return {
        "id": JOB,
        "name": "blur",
        "phase": phase,
        "state": state,
        "message": "",
        "run": RUN,
        "workspace": WORKSPACE,
        "nodes": 4,
        "items": 80,
        "bytes": 2_000_000,
        "shards": sum(counted.values()),
        "budget": "1.50",
        "output_files": 0,
        "output_bytes": 0,
        "created_at": "2026-11-21T12:00:00Z",
        "seconds": 12.0,
        "progress": {"done": over, "states": counted},
    } | more


def shard(number: int, state: str = "succeeded", **more: Any) -> Any:
    given = {"id": STEP, "number": number, "name": f"shard {number}", "state": state, "items": 10, "attempt": 1}
    return given | {"tries": [], "seconds": 3.0, "instance_id": "i-1", "message": ""} | more


@pytest.fixture
def file(home: Path) -> Path:
    path = home / "work" / "job.yaml"
    path.parent.mkdir()
    path.write_text(YAML)
    return path


@pytest.fixture
def there(portal: Portal) -> Portal:
    """A job that is there."""
    portal.says("GET", "jobs/", page(job()))
    portal.says("GET", f"jobs/{JOB}/", answer(job(states={"succeeded": 3, "failed": 1, "running": 4})))
    return portal


def test_a_file_is_submitted_as_it_is_written(orca: Orca, portal: Portal, file: Path) -> None:
    portal.says("POST", "jobs/", answer(job("searching", "queued"), 201))
    assert orca("job", "submit", str(file)).out == f"{JOB}\n"
    [sent] = portal.bodies("POST", "jobs/")
    assert sent["data"]["time"] == ["2024-06-01T00:00:00Z", ".."]
    assert sent["script"] == "blur"
    [request] = portal.sent("POST", "jobs/")
    assert len(request.headers["Idempotency-Key"]) == 32
    assert orca("job", "submit", "-", typed=YAML).code == 0


def test_a_local_script_is_pushed_first(orca: Orca, portal: Portal, file: Path) -> None:
    (file.parent / "blur").mkdir()
    (file.parent / "blur" / "main.py").write_text("print(1)")
    file.write_text(YAML.replace("script: blur", "script: ./blur"))
    version = {"script": SCRIPT, "number": 3, "files": [], "entrypoint": "main.py"}
    portal.says("GET", "scripts/", page())
    portal.says("POST", "scripts/", answer(version, 201))
    portal.says("POST", "jobs/", answer(job(), 201))
    done = orca("job", "submit", str(file))
    assert done.code == 0
    assert "blur version 3 (created)" in done.err
    [sent] = portal.bodies("POST", "jobs/")
    assert (sent["script"], sent["version"]) == (SCRIPT, 3)


def test_a_local_script_that_is_not_there_is_said(orca: Orca, file: Path) -> None:
    file.write_text(YAML.replace("script: blur", "script: ./blurr"))
    done = orca("job", "submit", str(file))
    assert done.code == 2
    assert "blurr" in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", "job.yaml:1:8"),
        ("- 1\n", "is no job"),
        ("a: &a [*a]\n", "cannot be sent"),
        ("[" * 5_000, "job.yaml"),
    ],
)
def test_what_is_no_yaml_is_said_with_its_place(orca: Orca, portal: Portal, file: Path, text: str, said: str) -> None:
    portal.says("POST", "jobs/", problem("bad_job", 422))
    file.write_text(text)
    done = orca("job", "submit", str(file))
    assert done.code in {1, 2}
    assert said in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("state", "code"), [("succeeded", 0), ("failed", 1), ("timed_out", 124), ("lost", 125), ("cancelled", 130)]
)
def test_followed_it_ends_as_the_job_does(orca: Orca, portal: Portal, file: Path, state: str, code: int) -> None:
    portal.says("POST", "jobs/", answer(job("searching", "queued"), 201))
    portal.says(
        "GET",
        f"jobs/{JOB}/",
        answer(job(states={"running": 2, "queued": 6})),
        httpx.ConnectError("no"),
        answer(job(states={"succeeded": 4, "running": 4})),
        answer(job("ended", state, states={"succeeded": 7, "failed": 1}, output_files=9, output_bytes=100)),
    )
    done = orca("job", "submit", str(file), "--follow")
    assert done.code == code
    assert "Looking for the data" in done.err
    assert "Running: 4 of 8 shards, 4 running" in done.err
    assert "8 (7 succeeded, 1 failed)" in done.out


def test_outputs_that_could_not_be_gathered_are_no_success(orca: Orca, portal: Portal, file: Path) -> None:
    over = job("ended", "succeeded", states={"succeeded": 8}, reason="cloud_fault", message="The bucket says no.")
    portal.says("POST", "jobs/", answer(job("searching", "queued"), 201))
    portal.says("GET", f"jobs/{JOB}/", answer(over))
    done = orca("job", "submit", str(file), "--follow")
    assert (done.code, "The bucket says no." in done.out) == (125, True)


def test_followed_with_json_stdout_is_the_job_alone(orca: Orca, portal: Portal, file: Path) -> None:
    portal.says("POST", "jobs/", answer(job(), 201))
    portal.says("GET", f"jobs/{JOB}/", answer(job("ended", "succeeded", states={"succeeded": 8})))
    done = orca("job", "submit", str(file), "-f", "--json")
    assert done.code == 0
    assert done.json["state"] == "succeeded"


def test_what_is_refused_names_the_field(orca: Orca, portal: Portal, file: Path) -> None:
    refused = problem("bad_job", 422, "The job cannot be accepted.", **{"data.bbox": "South is above north."})
    portal.says("POST", "jobs/", refused)
    done = orca("job", "submit", str(file), "--follow")
    assert done.code == 1
    assert "data.bbox: South is above north." in done.err


def test_validate_says_what_is_wrong_and_ends_so(orca: Orca, portal: Portal, file: Path) -> None:
    portal.says("POST", "jobs/validate/", answer({"errors": {"nodes": "From 1 to 8."}}), answer({"errors": {}}))
    done = orca("job", "validate", str(file))
    assert (done.code, done.out) == (1, f"{file}: nodes: From 1 to 8.\n")
    assert orca("job", "validate", str(file)).code == 0


def test_a_preview_says_how_much_and_what_it_costs(orca: Orca, portal: Portal, file: Path) -> None:
    found = {"items": 412, "more": True, "bytes": 38_000_000, "shards": 64, "estimate": "0.031", "estimate_most": "1.2"}
    portal.says("POST", "jobs/preview/", answer(found | {"warnings": ["One document could not be read."]}))
    done = orca("job", "preview", str(file))
    assert "at least 412 items, 38.0 MB, 64 shards" in done.out
    assert "about $0.031, at most $1.20" in done.out
    assert "One document could not be read." in done.out


def test_jobs_are_listed_and_shown(orca: Orca, there: Portal) -> None:
    assert JOB in orca("job", "ls").out
    shown = orca("job", "status", "blur").out
    assert "8 (3 succeeded, 1 failed, 4 running)" in shown
    assert "of at most" not in shown  # nobody counts what it costs
    there.says("GET", f"jobs/{JOB}/", answer(job(states={"running": 8}, cost="0.0042")))
    assert "$0.0042 of at most $1.50" in orca("job", "status").out


def test_shards_and_the_log_of_one(orca: Orca, there: Portal) -> None:
    path = f"jobs/{JOB}/shards/"
    there.says("GET", path, page(shard(1), shard(2, "failed", tries=[{}], attempt=2, message="Exit code 1.")))
    out = orca("job", "shards", "blur", "--state", "failed").out
    assert "Exit code 1." in out
    assert there.sent("GET", path)[0].url.params["state"] == "failed"
    there.says("GET", path, page(shard(17)))
    there.says("GET", f"runs/{RUN}/steps/{STEP}/log/", lines("hello"), answer([]))
    assert orca("job", "logs", "blur", "17").out == "hello\n"
    assert there.sent("GET", path)[-1].url.params["number"] == "17"
    there.says("GET", path, page())
    assert orca("job", "logs", "blur", "99").code == 4
    assert orca("job", "logs", "blur", "x").code == 2


def test_it_is_cancelled_and_retried(orca: Orca, there: Portal) -> None:
    there.says("POST", f"jobs/{JOB}/cancel/", answer(job(), 202))
    assert "being cancelled" in orca("job", "cancel", "blur").out
    there.says("POST", f"jobs/{JOB}/retry/", answer(job("splitting", "queued"), 202))
    assert "done again" in orca("job", "retry", "blur").out
    there.says("GET", f"jobs/{JOB}/", answer(job("ended", "failed")))
    assert "has ended already" in orca("job", "cancel", "blur").out


def test_the_archive_is_fetched_and_goes_on_where_it_broke(orca: Orca, there: Portal, home: Path) -> None:
    there.says("GET", f"jobs/{JOB}/archive/", answer({"url": LINK}))

    def broken(request: httpx.Request) -> httpx.Response:
        if "range" not in request.headers:
            return httpx.Response(200, headers={"etag": '"1"'}, stream=_Breaking([b"first "]))
        assert request.headers["range"] == "bytes=6-"
        return httpx.Response(206, headers={"etag": '"1"'}, stream=httpx.ByteStream(b"second"))

    there.says("GET", LINK.partition("?")[0], broken)
    done = orca("job", "download", "blur", "--to", str(home / "got"))
    assert done.code == 0
    assert (home / "got" / "blur.zip").read_bytes() == b"first second"


class _Breaking(httpx.SyncByteStream):
    """A body of which the end never comes."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Any:
        yield from self._pieces
        raise httpx.ReadError("gone")


def test_items_are_printed(orca: Orca, there: Portal) -> None:
    there.says("GET", f"jobs/{JOB}/items/", answer({"url": LINK}))
    there.says("GET", LINK.partition("?")[0], httpx.Response(200, content=b'{"id": "a"}\n'))
    assert orca("job", "items", "blur").out == '{"id": "a"}\n'
    assert orca("job", "items", "blur", "--json").json == {"url": LINK}


def test_outputs_are_deleted_only_with_a_yes(orca: Orca, there: Portal) -> None:
    there.says("DELETE", f"jobs/{JOB}/outputs/", httpx.Response(204))
    assert orca("job", "rm-outputs", "blur").code == 2
    assert there.sent("DELETE", f"jobs/{JOB}/outputs/") == []
    assert orca("job", "rm-outputs", "blur", "--yes").code == 0
    assert len(there.sent("DELETE", f"jobs/{JOB}/outputs/")) == 1
