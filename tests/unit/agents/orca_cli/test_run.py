"""Running something: what is sent, what is shown where, and with which code it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from agents.orca_cli.follow import exit_code_of
from tests.unit.agents.orca_cli.conftest import (
    RUN,
    SCRIPT,
    STEP,
    WORKSPACE,
    Done,
    Portal,
    answer,
    events,
    lines,
    page,
    problem,
    run,
    step,
    workspace,
)

Orca = Callable[..., Done]
pytestmark = pytest.mark.usefixtures("logged_in")
LOG = f"runs/{RUN}/steps/{STEP}/log/"
EVENTS = f"runs/{RUN}/events/"
PUSHED = {"id": "v", "script": SCRIPT, "number": 1, "files": [{"path": "a.py", "size": 1}], "entrypoint": "a.py"}


@pytest.fixture
def ready(portal: Portal) -> Portal:
    """A workspace, a script, and a run of it that says hello and ends well."""
    ended = run("succeeded", step(state="succeeded", exit_code=0, log_lines=2))
    portal.says("GET", "workspaces/", page(workspace()))
    portal.says("GET", "scripts/", page({"id": SCRIPT, "name": "hello", "latest": 3}))
    portal.says("POST", "runs/", answer(run("queued"), 201))
    portal.says("GET", EVENTS, events(("run", run("running", step(log_lines=1))), ("run", ended), ("end", None)))
    portal.says("GET", LOG, lines("hello"), lines("world", first=2))
    portal.says("GET", f"runs/{RUN}/", answer(ended))
    return portal


def ends(portal: Portal, state: str, **more: Any) -> None:
    ended = run(state, step(state=state, **more))
    portal.says("GET", EVENTS, events(("run", ended), ("end", None)))
    portal.says("GET", f"runs/{RUN}/", answer(ended))


def test_the_log_is_all_that_stdout_carries(orca: Orca, ready: Portal) -> None:
    done = orca("run", "hello", "-e", "LEVEL=debug", "--limit", "seconds=60", "--", "--day", "today", "-x")
    assert (done.code, done.out) == (0, "hello\nworld\n")
    assert "running on i-1" in done.err
    assert "succeeded" in done.err
    assert ready.bodies("POST", "runs/") == [
        {
            "workspace": WORKSPACE,
            "arguments": ["--day", "today", "-x"],
            "environment": {"LEVEL": "debug"},
            "limits": {"seconds": 60},
            "name": "",
            "script": SCRIPT,
        }
    ]
    assert [dict(request.url.params)["after"] for request in ready.sent("GET", LOG)] == ["0", "1"]


def test_with_json_stdout_is_one_value_and_the_log_goes_aside(orca: Orca, ready: Portal) -> None:
    done = orca("run", "hello", "--json")
    assert done.json["state"] == "succeeded"
    assert "hello\nworld\n" in done.err


@pytest.mark.parametrize(
    ("state", "more", "code"),
    [
        ("succeeded", {"exit_code": 0}, 0),
        ("failed", {"exit_code": 3}, 3),
        ("failed", {"exit_code": None, "signal": 9}, 137),
        ("failed", {"exit_code": None, "message": "The bundle is broken."}, 125),
        ("timed_out", {"exit_code": None, "signal": 15}, 124),
        ("cancelled", {"exit_code": None, "signal": 15}, 130),
        ("lost", {}, 125),
    ],
)
def test_the_exit_code_is_the_scripts(orca: Orca, ready: Portal, state: str, more: Any, code: int) -> None:
    ends(ready, state, **more)
    done = orca("run", "hello")
    assert done.code == code
    if "message" in more:
        assert more["message"] in done.err


def test_the_first_step_that_failed_decides() -> None:
    first, second = step(state="failed", exit_code=7), step(state="failed", exit_code=8)
    assert exit_code_of(run("failed", step(state="succeeded", exit_code=0), first, second)) == 7


def test_orcas_own_trouble_is_not_taken_for_the_scripts(orca: Orca, ready: Portal) -> None:
    ready.says("POST", "runs/", problem("wrong_state", 409, "The workspace is destroyed.", "Build it again."))
    done = orca("run", "hello")
    assert done.code == 125
    assert "The workspace is destroyed." in done.err
    assert "Build it again." in done.err


def test_a_local_file_is_uploaded_and_run_in_that_version(orca: Orca, ready: Portal, home: Path) -> None:
    (home / "hello.py").write_text("print('hello')")
    ready.says("POST", f"scripts/{SCRIPT}/versions/", answer(PUSHED | {"number": 4}, 201))
    done = orca("run", "hello.py")
    assert done.code == 0
    assert "hello version 4 (changed)" in done.err
    [sent] = ready.sent("POST", f"scripts/{SCRIPT}/versions/")
    assert b'filename="hello.py"' in sent.content
    assert b"print('hello')" in sent.content
    [body] = ready.bodies("POST", "runs/")
    assert (body["script"], body["version"]) == (SCRIPT, 4)


def test_a_file_that_is_not_there_is_not_looked_for_among_scripts(orca: Orca, ready: Portal) -> None:
    done = orca("run", "./helo.py")
    assert (done.code, ready.sent("GET", "scripts/")) == (125, [])
    assert "no file or folder ./helo.py" in done.err


def test_names_that_are_nearly_right_are_offered(orca: Orca, ready: Portal) -> None:
    done = orca("run", "helo")
    assert "Did you mean hello?" in done.err
    assert ready.sent("POST", "runs/") == []


def test_several_workspaces_have_to_be_told_apart(orca: Orca, ready: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    other = workspace(name="other", id="01k00000000000000000000009")
    ready.says("GET", "workspaces/", page(workspace(), other))
    done = orca("run", "hello")
    assert done.code == 125
    assert "lab, other" in done.err
    monkeypatch.setenv("ORCA_WORKSPACE", "other")
    assert orca("run", "hello").code == 0
    assert ready.bodies("POST", "runs/")[0]["workspace"] == other["id"]


def test_a_broken_connection_is_taken_up_again_where_it_broke(orca: Orca, ready: Portal) -> None:
    started = events(("run", run("running", step(log_lines=1))))
    ended = run("succeeded", step(state="succeeded", exit_code=0, log_lines=2))
    broken = httpx.RemoteProtocolError("peer closed")
    ready.says("GET", EVENTS, started, broken, events(("run", ended), ("end", None)))
    ready.says("GET", f"runs/{RUN}/", answer(run("running", step(log_lines=1))), answer(ended))
    done = orca("run", "hello")
    assert (done.code, done.out) == (0, "hello\nworld\n")
    assert "The connection broke" in done.err


def test_lines_that_come_after_the_end_are_shown(orca: Orca, ready: Portal) -> None:
    early = run("succeeded", step(state="succeeded", exit_code=0, log_lines=1))
    late = run("succeeded", step(state="succeeded", exit_code=0, log_lines=2))
    ready.says("GET", EVENTS, events(("run", early), ("end", None)))
    ready.says("GET", f"runs/{RUN}/", answer(early), answer(late))
    ready.says("GET", LOG, lines("hello"), lines("world", first=2))
    ready.says("GET", f"runs/{RUN}/", answer(late))
    assert orca("run", "hello").out == "hello\nworld\n"


def test_another_attempt_is_shown_from_its_first_line(orca: Orca, ready: Portal) -> None:
    again = run("succeeded", step(state="succeeded", exit_code=0, attempt=2, log_lines=1))
    ready.says("GET", EVENTS, events(("run", run("running", step(log_lines=1))), ("run", again), ("end", None)))
    ready.says("GET", f"runs/{RUN}/", answer(again))
    ready.says("GET", LOG, lines("first try"), lines("second try"))
    assert orca("run", "hello").out == "first try\nsecond try\n"


def test_steps_are_told_apart(orca: Orca, ready: Portal) -> None:
    both = run(
        "succeeded",
        step(state="succeeded", exit_code=0, name="one", log_lines=1),
        step(state="succeeded", exit_code=0, name="two", log_lines=1, id="01k00000000000000000000008"),
    )
    ready.says("GET", EVENTS, events(("run", both), ("end", None)))
    ready.says("GET", f"runs/{RUN}/", answer(both))
    ready.says("GET", LOG, lines("a"))
    ready.says("GET", LOG.replace(STEP, "01k00000000000000000000008"), lines("b", stream="err"))
    done = orca("run", "hello")
    assert done.out == "one | a\n"
    assert "two | b\n" in done.err


def test_detached_it_only_says_which_run_it_is(orca: Orca, ready: Portal) -> None:
    done = orca("run", "hello", "-d")
    assert (done.code, done.out) == (0, f"{RUN}\n")
    assert ready.sent("GET", EVENTS) == []


def test_ctrl_c_where_nobody_can_be_asked_stops_the_run(orca: Orca, ready: Portal) -> None:
    def pressed(request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    cancelled = run("cancelled", step(state="cancelled", signal=15))
    ready.says("GET", EVENTS, pressed, events(("run", cancelled), ("end", None)))
    ready.says("POST", f"runs/{RUN}/cancel/", answer(run("running"), 202))
    ready.says("GET", f"runs/{RUN}/", answer(cancelled))
    done = orca("run", "hello")
    assert done.code == 130
    assert len(ready.sent("POST", f"runs/{RUN}/cancel/")) == 1


def test_outputs_are_fetched_and_stay_in_their_folder(orca: Orca, ready: Portal, home: Path) -> None:
    outputs = [{"path": "sub/a.txt", "size": 5, "content_type": "text/plain"}]
    ends(ready, "succeeded", exit_code=0, outputs=outputs)
    ready.says("GET", f"runs/{RUN}/steps/{STEP}/outputs/link/", answer({"url": "https://bucket.example.org/a"}))
    ready.answers["GET", "https://bucket.example.org/a"] = [httpx.Response(200, content=b"hello")]
    assert orca("run", "hello", "-o", "got").code == 0
    assert (home / "got" / "sub" / "a.txt").read_bytes() == b"hello"
    assert "Authorization" not in ready.sent("GET", "https://bucket.example.org/a")[0].headers

    ends(ready, "succeeded", exit_code=0, outputs=[outputs[0] | {"path": "../../evil"}])
    done = orca("run", "hello", "-o", "got")
    assert done.code == 125
    assert not (home.parent / "evil").exists()


def test_logs_of_what_ran(orca: Orca, ready: Portal) -> None:
    ready.says("GET", "runs/", page({"id": RUN}))
    ready.says("GET", LOG, lines("hello"), answer([]))
    assert orca("runs", "logs").out == "hello\n"
    ready.says("GET", LOG, lines("hello"), answer([]))
    [line] = json.loads(orca("runs", "logs", RUN, "--json").out)
    assert (line["step"], line["number"], line["text"]) == ("hello", 1, "hello")
