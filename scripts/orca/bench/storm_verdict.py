"""What became of the runs of a storm, as their owner sees it and as the scripts themselves have noted it.

*Ended*: in a final state. *Lost*: accepted (with 201, or found later under the same idempotency key) but not in a
final state when the bound was over, in the state ``lost``, or ``succeeded`` without its script having been executed to
its end. *Failed*: in any other final state than ``succeeded``, which no run here deserves.

*Applied twice* counts effects, each of which may be there once:

- ``runs``: a name stands for two runs (a POST with an idempotency key was applied again);
- ``steps``: a run has more than its one step;
- ``ends``: state, start or end of a run are not what they were when its final state was first seen (a second end was
  applied), or its outputs are listed twice;
- ``logs``: the log that the owner reads has a line twice, or lines of two executions.

Executing a script again is by design: a killed agent's step is delivered again, at least once. Each execution signs a
ledger on the instance, so they are counted, as ``reruns``; the result of them all is to be one.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from scripts.orca.bench.installation import FINAL, Lab, Person
from scripts.orca.bench.storm_clients import Sent

LINES: Final = 5
SCRIPT: Final = f"""\
import os, pathlib, sys, time
ledger, seconds = sys.argv[1], float(sys.argv[2])
run, token = os.environ["ORCA_RUN_ID"], f"{{os.getpid()}}-{{time.time_ns()}}"

def sign(word):
    file = os.open(os.path.expanduser(f"~/{{ledger}}"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, f"{{run}} {{word}}\\n".encode())
    os.close(file)

sign("begun")
for number in range({LINES}):
    print(token, number, flush=True)
    time.sleep(seconds / {LINES})
pathlib.Path("output/result.txt").write_text(token)
sign("ended")
"""
_READER: Final = """\
import os, pathlib, sys
ledger = pathlib.Path(os.path.expanduser(f"~/{sys.argv[1]}"))
print(ledger.read_text(), end="")
ledger.unlink()
"""
_SEEN: Final = ("state", "created_at", "started_at", "finished_at")
_READERS: Final = 4


@dataclass
class Verdict:
    """Counts of runs, but for ``twice``: of effects, by their kind."""

    ended: int = 0
    lost: int = 0
    failed: int = 0
    reruns: int = 0
    short_logs: int = 0
    twice: Counter[str] = field(default_factory=Counter)
    strange: list[str] = field(default_factory=list)

    @property
    def applied_twice(self) -> int:
        return self.twice.total()


def verdict(lab: Lab, sent: list[Sent], ledger: str) -> Verdict:
    """Look at every run once more, now that nothing is under way."""
    signed = _signed(lab, ledger)
    found = Verdict()
    with ThreadPoolExecutor(_READERS) as readers:
        for run, log, each in readers.map(lambda one: (*_told(lab.person, one), one), sent):
            judge(found, each, run, log, signed)
    ours = {each.name for each in sent}
    names = Counter(run["name"] for run in _all_runs(lab.person) if run["name"] in ours)
    found.twice["runs"] += names.total() - len(names)
    return found


def _signed(lab: Lab, ledger: str) -> Counter[tuple[str, str]]:
    """How often each run has signed that it has begun and that it has ended."""
    person = lab.person
    read = person.ended(lab.run(_READER, arguments=[ledger], name="the storm's ledger"), seconds=120)
    return Counter((run, word) for run, word in (line.split() for line in person.log(read)))


def _told(person: Person, sent: Sent) -> tuple[dict[str, Any], list[str]]:
    run = person.get(f"runs/{sent.id}/")
    return run, person.log(run)


def _all_runs(person: Person) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    following: str | None = "runs/?page_size=200"
    while following:
        page = person.ask("GET", following)
        found += page["results"]
        following = page["next"]
    return found


def judge(found: Verdict, sent: Sent, run: dict[str, Any], log: list[str], signed: Counter[tuple[str, str]]) -> None:
    """Take one run into the counts: as it is now, its log, and how often it has signed the ledger."""
    state, steps = run["state"], run["steps"]
    begun, ended = signed[run["id"], "begun"], signed[run["id"], "ended"]
    found.reruns += max(0, begun - 1)
    found.twice["steps"] += len(steps) - 1
    if state not in FINAL or sent.seen is None:
        found.lost += 1
        found.strange.append(f"{run['id']} is {state}")
        return
    found.ended += 1
    if state == "lost" or (state == "succeeded" and not ended):
        found.lost += 1
        found.strange.append(f"{run['id']} is {state}, executed {begun} times and {ended} times to the end")
    elif state != "succeeded":
        found.failed += 1
        found.strange.append(f"{run['id']} is {state}: {steps[0]['reason']}: {steps[0]['message']}")
    changed = [name for name in _SEEN if run[name] != sent.seen[name]]
    if changed or len(steps[0]["outputs"]) > 1:
        found.twice["ends"] += 1
        found.strange.append(f"{run['id']} changed after its end: {', '.join(changed) or 'outputs'}")
    told = Counter(log)
    if len(told) < len(log) or len({line.split()[0] for line in log}) > 1:
        found.twice["logs"] += 1
        found.strange.append(f"{run['id']} has {len(log)} lines of log: {log}")
    elif state == "succeeded" and len(log) < LINES:
        found.short_logs += 1
        found.strange.append(f"{run['id']} has only {len(log)} lines of log")
