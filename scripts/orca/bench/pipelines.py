"""Pipelines: how soon the next step begins, whether order holds, and how many steps end in a second.

``step_gap_ms``       from the end of a step to the first line of the one that needs it, on one instance; by the
                      scripts' own clocks, of pipelines of ten steps that run one after the other.
``order_violations``  steps that began before one that they need had ended, of many pipelines at once.
``duplicates``        steps of those that were done more than once.
``schedule_delay_ms`` of schedules that are all due in the same second: from then until each has started its run.
``rate_to_prefect``   steps a second of the same graph (sequences side by side) here and on Prefect's local server
                      with a process worker of as many slots, in turn.

Every step signs a ledger on the instance with the time of its beginning and of its end.
"""

from __future__ import annotations

import argparse
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scripts.orca.bench.dispatch import SLOTS, settled
from scripts.orca.bench.figures import Report
from scripts.orca.bench.installation import Lab, lab_built, orca_running
from scripts.orca.bench.prefect import VERSION, prefect_running
from scripts.orca.bench.schedules import schedule_delays
from scripts.orca.console import ScriptError, say, step

CLIENTS = 4
SCRIPT = """import time
began = time.time()
import os, sys
line = f"{os.environ['ORCA_RUN_ID']} {os.environ['ORCA_STEP_ID']} {began} {time.time()}\\n"
file = os.open(os.path.expanduser(f"~/{sys.argv[1]}"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
os.write(file, line.encode())
"""
READER = "import os, sys\nprint(open(os.path.expanduser(f'~/{sys.argv[1]}')).read())\n"


@dataclass(frozen=True)
class Done:
    """One execution of a step, by its own clock."""

    began: float
    ended: float


def measure(arguments: list[str]) -> Report:
    """Run the benchmark."""
    reader = argparse.ArgumentParser(prog="scripts/bench/pipelines", description=(__doc__ or "").splitlines()[0])
    reader.add_argument("--alone", type=int, default=20, help="pipelines that run alone (default: 20)")
    reader.add_argument("--pipelines", type=int, default=200, help="pipelines at once (default: 200)")
    reader.add_argument("--steps", type=int, default=10, help="steps of each (default: 10)")
    reader.add_argument("--schedules", type=int, default=1_000, help="due in one second (default: 1,000)")
    reader.add_argument("--rounds", type=int, default=2, help="beside Prefect (default: 2)")
    given = reader.parse_args(arguments)
    report = Report("pipelines")
    report.versions["prefect"] = VERSION
    with TemporaryDirectory(prefix="orca-bench-") as name:
        folder = Path(name)
        say("  Orca starts ...")
        room = {"ORCA_SLOTS": str(SLOTS), "ORCA_MAX_SCHEDULES": str(2 * given.schedules + 100)}
        with orca_running(folder, **room) as orca:
            with step("A workspace"):
                lab = lab_built(orca)
                settled(lab)
            bench = _Bench(lab)
            bench.gaps(report, given.alone, given.steps)
            bench.crowd(report, given.pipelines, given.steps)
            if given.schedules:
                report.add("schedule_delay_ms", schedule_delays(lab, count=given.schedules), "ms")
            _beside_prefect(bench, folder, report, given.rounds)
    return report


class _Bench:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.person = lab.person
        self.person.upload("signs", main_py=SCRIPT)
        self.reader = self.person.upload("reads", main_py=READER)

    def pipeline(self, name: str, steps: int, ledger: str) -> str:
        """A sequence that signs this ledger; its id."""
        listed = "".join(f"  - {{name: s{n}, script: signs, arguments: [{ledger}]}}\n" for n in range(steps))
        source = f"name: {name}\nworkspace: {self.lab.workspace}\nconcurrency: allow\nsteps:\n{listed}"
        return str(self.person.post("pipelines/", {"source": source})["pipeline"])

    def run(self, pipeline: str) -> Any:
        return self.person.post(f"pipelines/{pipeline}/runs/", {"parameters": {}})

    def ended(self, run: Any) -> Any:
        found = self.person.ended(run, seconds=600)
        if found["state"] != "succeeded":
            raise ScriptError(f"A run ended as {found['state']}.", detail=str(found)[:2_000])
        return found

    def ledger(self, name: str) -> dict[str, list[Done]]:
        """What was signed: the executions of each step."""
        run = self.person.ended(self.person.run(self.lab.workspace, self.reader, arguments=[name]))
        signed: dict[str, list[Done]] = {}
        for line in filter(None, self.person.log(run)):
            _, step_id, began, ended = line.split()
            signed.setdefault(step_id, []).append(Done(float(began), float(ended)))
        return signed

    def gaps(self, report: Report, count: int, steps: int) -> None:
        ledger = f"alone-{secrets.token_hex(4)}"
        pipeline = self.pipeline("alone", steps, ledger)
        self.ended(self.run(pipeline))
        runs = [self.ended(self.run(pipeline)) for _ in range(count)]
        signed = self.ledger(ledger)
        pairs = [pair for run in runs for pair in zip(run["steps"], run["steps"][1:], strict=False)]
        gaps = [(signed[after["id"]][0].began - signed[before["id"]][0].ended) * 1000 for before, after in pairs]
        report.add("step_gap_ms", gaps, "ms")

    def crowd(self, report: Report, count: int, steps: int) -> None:
        """Many pipelines at once."""
        ledger = f"crowd-{secrets.token_hex(4)}"
        with step(f"{count} pipelines of {steps} steps"):
            pipelines = [self.pipeline(f"crowd-{n}", steps, ledger) for n in range(count)]
            began = time.monotonic()
            with ThreadPoolExecutor(CLIENTS) as pool:
                runs = list(pool.map(self.run, pipelines))
            ended = [self.ended(run) for run in runs]
        report.add("crowd_steps_per_s", [count * steps / (time.monotonic() - began)], "1/s")
        signed = self.ledger(ledger)
        report.add("order_violations", [_violations(ended, signed)], "steps")
        report.add("duplicates", [sum(len(times) - 1 for times in signed.values())], "steps")
        missing = Counter(step["id"] in signed for run in ended for step in run["steps"])[False]
        report.add("missing", [missing], "steps")

    def rate(self, pipelines: Sequence[str], steps: int) -> float:
        """Steps a second of these pipelines at once."""
        began = time.monotonic()
        with ThreadPoolExecutor(len(pipelines)) as pool:
            runs = list(pool.map(self.run, pipelines))
        for run in runs:
            self.ended(run)
        return len(pipelines) * steps / (time.monotonic() - began)


def _violations(runs: Sequence[Any], signed: dict[str, list[Done]]) -> int:
    count = 0
    for run in runs:
        ids = {each["key"]: each["id"] for each in run["steps"]}
        for each in run["steps"]:
            began = min(done.began for done in signed[each["id"]])
            count += any(began < max(done.ended for done in signed[ids[need]]) for need in each["needs"])
    return count


def _beside_prefect(bench: _Bench, folder: Path, report: Report, rounds: int) -> None:
    count, steps = 8, 5
    ledger = f"beside-{secrets.token_hex(4)}"
    pipelines = [bench.pipeline(f"beside-{n}", steps, ledger) for n in range(count)]
    ours, theirs = [], []
    with prefect_running(folder / "prefect-peer", slots=SLOTS) as prefect:
        bench.rate(pipelines, steps)
        prefect.rate(1, 1)
        for _ in range(rounds):
            ours.append(bench.rate(pipelines, steps))
            theirs.append(prefect.rate(count, steps))
            say(f"  {ours[-1]:.1f} steps a second, Prefect {theirs[-1]:.2f}")
    report.add("steps_per_s", ours, "1/s")
    report.add("prefect_steps_per_s", theirs, "1/s")
    report.ratio("rate_to_prefect", report.figures["steps_per_s"].median / report.figures["prefect_steps_per_s"].median)
