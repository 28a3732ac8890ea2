"""How soon a script runs, and how many run in a second: a no-op Python script on a ready workspace of the local cloud.

``first_instruction_ms``  from the start of ``POST /api/v1/runs/`` to the script's first line, by the machine's clock.
``result_visible_ms``     from the same start to the final state, as the run's event stream tells it.
``throughput_per_s``      runs that wait for slots, from the moment the slots are free until the API shows none open.
``submit_per_s``          how many such runs the API accepts in a second from a few clients.

The floor is a bare process of the same interpreter running the same script: one after the other between our runs, and
as a pool of as many processes as the instance has slots. All on one machine, so that floor and Orca share its cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from httpx_sse import connect_sse

from scripts.orca.bench.figures import Report
from scripts.orca.bench.installation import FINAL, Lab, Orca, Person, lab_built, orca_running
from scripts.orca.console import ScriptError, say, step

SLOTS = 4
CLIENTS = 8
NO_OP = "import time\nprint(time.time())\n"
# Holds a slot until a moment that all know, so that what is sent meanwhile waits.
BLOCKER = "import sys, time\ntime.sleep(max(0, float(sys.argv[1]) - time.time()))\n"


def measure(arguments: list[str]) -> Report:
    """Run the benchmark."""
    reader = argparse.ArgumentParser(prog="scripts/bench/dispatch", description=__doc__)
    reader.add_argument("--runs", type=int, default=100, help="single runs, one after the other (default: 100)")
    reader.add_argument("--waiting", type=int, default=500, help="runs that wait for slots (default: 500)")
    reader.add_argument("--rounds", type=int, default=3, help="of the throughput (default: 3)")
    given = reader.parse_args(arguments)
    report = Report("dispatch")
    with TemporaryDirectory(prefix="orca-bench-") as name:
        folder = Path(name)
        script = folder / "main.py"
        script.write_text(NO_OP)
        say("  Orca starts ...")
        with orca_running(folder, ORCA_SLOTS=str(SLOTS)) as orca:
            _measure(orca, script, given, report)
    return report


def _measure(orca: Orca, script: Path, given: argparse.Namespace, report: Report) -> None:
    with step("A workspace"):
        lab = lab_built(orca)
        settled(lab)
    no_op = lab.person.upload("no-op", main_py=NO_OP)
    interpreter = interpreter_of(lab)
    report.versions["script_python"] = _said_by(interpreter, "import platform; print(platform.python_version())")
    blocker = lab.person.upload("blocker", main_py=BLOCKER)
    for _ in range(5):
        _one(lab, no_op)
    ours, floor = [], []
    for _ in range(given.runs):
        ours.append(_one(lab, no_op))
        floor.append(_bare(interpreter, script))
    report.add("first_instruction_ms", [first for first, _ in ours], "ms")
    report.add("result_visible_ms", [visible for _, visible in ours], "ms")
    report.add("bare_first_instruction_ms", [first for first, _ in floor], "ms")
    report.add("bare_end_ms", [end for _, end in floor], "ms")
    rates, floors, submits = [], [], []
    for _ in range(given.rounds):
        floors.append(_pool(interpreter, script, given.waiting))
        rate, submitted = _many(lab, no_op, blocker, given.waiting)
        rates.append(rate)
        submits.append(submitted)
        say(f"  {rate:.0f} a second, the bare pool {floors[-1]:.0f}, accepted {submitted:.0f}")
    report.add("throughput_per_s", rates, "1/s")
    report.add("bare_pool_per_s", floors, "1/s")
    report.add("submit_per_s", submits, "1/s")
    report.ratio("throughput_to_floor", report.figures["throughput_per_s"].median / _median(report, "bare_pool_per_s"))
    report.ratio(
        "result_visible_to_bare_process", _median(report, "result_visible_ms") / _median(report, "bare_end_ms")
    )


def _median(report: Report, name: str) -> float:
    return report.figures[name].median


def settled(lab: Lab) -> None:
    """Terraform's last waits are over: it would share the cores with what is measured."""
    path = f"workspaces/{lab.workspace}/terraform-runs/"
    deadline = time.monotonic() + 240
    while any(run["finished_at"] is None for run in lab.person.get(path)["results"]):
        if time.monotonic() > deadline:
            raise ScriptError("Terraform has not ended after four minutes.")
        time.sleep(0.5)


def _one(lab: Lab, script: str) -> tuple[float, float]:
    """Milliseconds from the POST's start to the script's first line, and to its final state."""
    began = time.time()
    run = lab.person.run(lab.workspace, script)
    found = _followed(lab, run["id"])
    visible = time.time()
    if found.get("state") != "succeeded":
        raise ScriptError(f"A no-op run ended as {found.get('state')}.", detail=json.dumps(found))
    lines = lab.person.log(found)
    return (float(lines[0]) - began) * 1000, (visible - began) * 1000


def _followed(lab: Lab, run_id: str) -> dict[str, Any]:
    """The run as its event stream tells it last."""
    found: dict[str, Any] = {}
    with connect_sse(lab.person.api, "GET", f"runs/{run_id}/events/") as source:
        for event in source.iter_sse():
            if event.event == "run":
                found = json.loads(event.data)
                if found["state"] in FINAL:
                    break
    return found


def interpreter_of(lab: Lab) -> str:
    """Where the interpreter lies that runs scripts on the instance; the same file is at the same place here."""
    run = lab.person.ended(lab.run("import os, sys; print(os.path.realpath(sys.executable))"))
    found: str = lab.person.log(run)[0]
    return found


def _said_by(interpreter: str, code: str) -> str:
    return subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _bare(interpreter: str, script: Path) -> tuple[float, float]:
    began = time.time()
    done = subprocess.run([interpreter, str(script)], capture_output=True, text=True, check=True)
    return (float(done.stdout) - began) * 1000, (time.time() - began) * 1000


def _pool(interpreter: str, script: Path, count: int) -> float:
    """How many bare processes end in a second, as many at once as there are slots."""
    began = time.monotonic()
    with ThreadPoolExecutor(SLOTS) as pool:
        list(pool.map(lambda _: _bare(interpreter, script), range(count)))
    return count / (time.monotonic() - began)


def _many(lab: Lab, script: str, blocker: str, count: int) -> tuple[float, float]:
    """Runs a second once the slots are free, and runs accepted a second while they are not."""
    person = lab.person
    free_at = time.time() + 5 + count / 15
    for _ in range(SLOTS):
        person.run(lab.workspace, blocker, arguments=[str(free_at)])
    began = time.monotonic()
    with (
        ThreadPoolExecutor(CLIENTS) as pool,
        httpx.Client(base_url=person.api.base_url, headers=person.api.headers, timeout=60, trust_env=False) as client,
    ):
        body = {"workspace": lab.workspace, "script": script}
        answers = list(pool.map(lambda _: client.post("runs/", json=body), range(count)))
    submitted = count / (time.monotonic() - began)
    if any(answer.status_code != 201 for answer in answers):
        raise ScriptError("The API refused a run.")
    if time.time() > free_at:
        raise ScriptError("The API was too slow to fill the backlog before the slots came free.")
    time.sleep(max(0.0, free_at - time.time()))
    _followed(lab, answers[-1].json()["id"])  # to ask all the time would take the cores from what is measured
    deadline = time.monotonic() + 300
    while any(person.get("runs/", state=state, page_size=1)["results"] for state in ("queued", "running")):
        if time.monotonic() > deadline:
            raise ScriptError("Some runs have not ended after five minutes.")
        time.sleep(0.05)
    took = time.time() - free_at
    if bad := [run for run in _listed(person, count + SLOTS) if run["state"] != "succeeded"]:
        raise ScriptError(f"{len(bad)} runs did not succeed.", detail=json.dumps(bad[0]))
    return count / took, submitted


def _listed(person: Person, count: int) -> list[dict[str, Any]]:
    """The newest runs."""
    page = person.get("runs/", page_size=200)
    found: list[dict[str, Any]] = page["results"]
    while len(found) < count and page["next"]:
        page = person.api.get(page["next"]).json()
        found += page["results"]
    return found[:count]
