"""The whole way with every part real: from a script to its outputs, through the API."""

from __future__ import annotations

import time

import httpx
import pytest

from scripts.orca.bench.installation import Lab

pytestmark = pytest.mark.cloud

WRITES = """
import os, pathlib, sys
print("hello", sys.argv[1], os.environ["MODE"])
print("careful", file=sys.stderr)
out = pathlib.Path("output"); out.mkdir(exist_ok=True)
(out / "table.csv").write_text("a,b\\n1,2\\n")
(out / "deep").mkdir()
(out / "deep" / "ünï çode.txt").write_text("snow ☃")
"""


def test_a_script_runs_and_leaves_its_outputs(lab: Lab) -> None:
    person = lab.person
    run = person.ended(lab.run(WRITES, arguments=["it's; $HOME"], environment={"MODE": "fast"}))
    (step,) = run["steps"]
    assert (run["state"], step["exit_code"], step["reason"]) == ("succeeded", 0, "completed")
    assert sorted(person.log(run)) == ["careful", "hello it's; $HOME fast"]
    assert {output["path"]: output["size"] for output in step["outputs"]} == {
        "table.csv": 8,
        "deep/ünï çode.txt": len("snow ☃".encode()),
    }
    link = person.get(f"runs/{run['id']}/steps/{step['id']}/outputs/link/", path="deep/ünï çode.txt")["url"]
    assert httpx.get(link, trust_env=False).text == "snow ☃"
    log = person.get(f"runs/{run['id']}/steps/{step['id']}/log/link/")["url"]
    assert "hello it's; $HOME fast" in httpx.get(log, trust_env=False).text


def test_a_shell_script_with_windows_line_ends_runs(lab: Lab) -> None:
    script = lab.person.upload("windows", main_sh="#!/bin/sh\r\necho one\r\necho two\r\n")
    run = lab.person.ended(lab.person.run(lab.workspace, script))
    assert lab.person.log(run) == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "state", "reason", "exit_code"),
    [
        ("raise SystemExit(3)", "failed", "exit_code", 3),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "failed", "signal", None),
        ("", "succeeded", "completed", 0),
        ("this is not Python", "failed", "exit_code", 1),
    ],
)
def test_how_a_script_ended_is_told(lab: Lab, text: str, state: str, reason: str, exit_code: int | None) -> None:
    run = lab.person.ended(lab.run(text))
    (step,) = run["steps"]
    assert (run["state"], step["reason"]) == (state, reason)
    assert exit_code is None or step["exit_code"] == exit_code


def test_a_script_that_takes_too_long_is_ended(lab: Lab) -> None:
    run = lab.person.ended(lab.run("while True: pass", limits={"seconds": 1}))
    assert (run["state"], run["steps"][0]["reason"]) == ("timed_out", "time_limit")


def test_a_running_script_is_cancelled(lab: Lab) -> None:
    person = lab.person
    run = lab.run("import time\nprint('on', flush=True)\ntime.sleep(600)")
    person.until(f"runs/{run['id']}/", lambda found: found["state"] == "running")
    person.post(f"runs/{run['id']}/cancel/")
    assert person.ended(run, seconds=30)["state"] == "cancelled"


def test_requirements_are_installed_once(lab: Lab) -> None:
    text = "import six, time\nprint('six', six.__version__)"
    script = lab.person.upload("needs-six", main_py=text, requirements_txt="six==1.16.0\n")
    first = lab.person.ended(lab.person.run(lab.workspace, script), seconds=180)
    assert (first["state"], lab.person.log(first)) == ("succeeded", ["six 1.16.0"])
    began = time.monotonic()
    again = lab.person.ended(lab.person.run(lab.workspace, script))
    assert again["state"] == "succeeded"
    assert time.monotonic() - began < first["seconds"]


def test_requirements_that_cannot_be_installed_say_so(lab: Lab) -> None:
    script = lab.person.upload("needs-nonsense", main_py="", requirements_txt="no-such-package-as-this==99\n")
    run = lab.person.ended(lab.person.run(lab.workspace, script), seconds=180)
    (step,) = run["steps"]
    assert (run["state"], step["reason"]) == ("failed", "requirements_failed")
    assert "no-such-package-as-this" in step["message"]


def test_many_runs_all_end_and_share_the_slots(lab: Lab) -> None:
    person, script = lab.person, lab.script("print('done')")
    runs = [person.run(lab.workspace, script) for _ in range(20)]
    assert {person.ended(run)["state"] for run in runs} == {"succeeded"}


def test_a_script_runs_as_an_ordinary_user_without_orcas_keys(lab: Lab) -> None:
    text = "import getpass, os\nprint(getpass.getuser(), os.getuid() != 0, [k for k in os.environ if 'SECRET' in k])"
    run = lab.person.ended(lab.run(text))
    assert lab.person.log(run) == ["analyst True []"]
