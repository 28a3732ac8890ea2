"""Pipelines on a real workspace: in order, with what earlier steps have left, whoever is killed meanwhile."""

from __future__ import annotations

import secrets
import time
from typing import Any

import pytest

from scripts.orca.bench.installation import Lab, Orca
from scripts.orca.bench.storm_victims import EVERYONE, Kill, Victims
from tests.fixtures.cloud import wait_until

pytestmark = pytest.mark.cloud

# Adds one to what the step before it has left.
COUNT = """import os, pathlib, time
before = list(pathlib.Path(os.environ["ORCA_INPUTS"]).glob("*/count.txt"))
number = 1 + sum(int(path.read_text()) for path in before)
time.sleep(0.3)
pathlib.Path("output/count.txt").write_text(str(number))
print("count", number)
"""
# Fails as often as its first argument says, then succeeds; the second names where it counts.
FLAKY = """import pathlib, sys
tries = pathlib.Path.home() / f"tries-{sys.argv[2]}"
done = int(tries.read_text()) if tries.exists() else 0
tries.write_text(str(done + 1))
print("try", done + 1)
sys.exit(75 if done < int(sys.argv[1]) else 0)
"""


@pytest.fixture(scope="module")
def scripts(lab: Lab) -> dict[str, str]:
    """The names of the scripts that the pipelines here run."""
    names = {}
    for name, text in {"count": COUNT, "flaky": FLAKY}.items():
        names[name] = f"{name}-{secrets.token_hex(4)}"
        lab.person.upload(names[name], main_py=text)
    return names


def saved(lab: Lab, steps: str, head: str = "") -> str:
    """A pipeline; its id."""
    source = f"name: p-{secrets.token_hex(4)}\nworkspace: {lab.workspace}\n{head}steps:\n{steps}"
    return str(lab.person.post("pipelines/", {"source": source})["pipeline"])


def run(lab: Lab, pipeline: str) -> Any:
    return lab.person.post(f"pipelines/{pipeline}/runs/", {"parameters": {}})


def said(lab: Lab, found: Any, key: str) -> list[str]:
    (step,) = [step for step in found["steps"] if step["key"] == key]
    lines = lab.person.get(f"runs/{found['id']}/steps/{step['id']}/log/")
    return [line["text"] for line in lines if line["stream"] == "out"]


#: A step is seen to run for the third of a second that it lasts; on a busy machine maybe not even that.
BEGUN = {"running", "succeeded"}


def states(found: Any) -> dict[str, str]:
    return {step["key"]: step["state"] for step in found["steps"]}


def chain(script: str, length: int) -> str:
    return "".join(f"  - {{name: s{n}, script: {script}}}\n" for n in range(1, length + 1))


def test_a_step_finds_what_those_it_needs_have_left(lab: Lab, scripts: dict[str, str]) -> None:
    script = scripts["count"]
    steps = (
        f"  - {{name: a, script: {script}}}\n"
        f"  - {{name: b, script: {script}, needs: [a]}}\n"
        f"  - {{name: c, script: {script}, needs: [a]}}\n"
        f"  - {{name: d, script: {script}, needs: [b, c]}}\n"
    )
    found = lab.person.ended(run(lab, saved(lab, steps)))
    assert [said(lab, found, key) for key in "abcd"] == [["count 1"], ["count 2"], ["count 2"], ["count 5"]]
    times = {step["key"]: step for step in found["steps"]}
    assert times["d"]["started_at"] > max(times[key]["finished_at"] for key in "bc")


def test_a_step_that_fails_is_tried_again_and_the_run_goes_on_from_there(lab: Lab, scripts: dict[str, str]) -> None:
    given = f"script: {scripts['flaky']}, arguments: [2, {secrets.token_hex(4)}]"
    flaky = f"{{name: b, {given}, retries: {{count: 1, backoff_seconds: 1, exit_codes: [75]}}}}"
    steps = f"  - {{name: a, script: {scripts['count']}}}\n  - {flaky}\n  - {{name: c, script: {scripts['count']}}}\n"
    failed = lab.person.ended(run(lab, saved(lab, steps)))
    assert (failed["state"], states(failed)) == ("failed", {"a": "succeeded", "b": "failed", "c": "skipped"})
    (tried,) = [step for step in failed["steps"] if step["key"] == "b"]
    assert [one["exit_code"] for one in tried["tries"]] == [75]
    retried = lab.person.ended(lab.person.post(f"runs/{failed['id']}/retry/"))
    assert (retried["state"], said(lab, retried, "b")) == ("succeeded", ["try 3"])
    assert retried["steps"][0]["origin"] == failed["steps"][0]["id"]


def test_a_run_is_stopped_and_nothing_more_begins(lab: Lab, scripts: dict[str, str]) -> None:
    begun = run(lab, saved(lab, chain(scripts["count"], 10)))
    seen = lab.person.until(f"runs/{begun['id']}/", lambda found: states(found)["s2"] in BEGUN)
    at_most = sum(state in BEGUN for state in states(seen).values()) + 1
    lab.person.post(f"runs/{begun['id']}/cancel/")
    found = lab.person.ended(begun)
    assert found["state"] == "cancelled"
    assert states(found)["s1"] == "succeeded"
    assert set(list(states(found).values())[at_most:]) == {"cancelled"}


@pytest.mark.parametrize("name", EVERYONE)
def test_whoever_is_killed_every_step_is_done_once_in_effect(
    lab: Lab, running_orca: Orca, scripts: dict[str, str], name: str
) -> None:
    victims = Victims(running_orca)
    begun = run(lab, saved(lab, chain(scripts["count"], 10)))
    lab.person.until(f"runs/{begun['id']}/", lambda found: states(found)["s3"] in BEGUN)
    kill = Kill(name, victims.pid(name), victims.logged(name), time.monotonic(), time.time())
    running_orca.kill_pid(kill.pid)
    wait_until(lambda: victims.is_back(kill), 60, f"{name}'s return")
    wait_until(lab.person.is_answered, 30, "the portal's answer")
    found = lab.person.ended(begun, seconds=120)
    assert (found["state"], set(states(found).values())) == ("succeeded", {"succeeded"})
    # Each has added one to what the one before had left: none was left out, and none counted twice.
    last = found["steps"][-1]["id"]
    link = lab.person.get(f"runs/{found['id']}/steps/{last}/outputs/link/", path="count.txt")["url"]
    assert lab.person.api.get(link, headers={"Authorization": ""}).text == "10"
