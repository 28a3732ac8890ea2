"""Jobs as a benchmark sends them: shards of one item each, and when they began and ended."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scripts.orca.bench.installation import Lab
from scripts.orca.console import ScriptError
from scripts.orca.demo.site import served

SLEEPS = "import sys, time\ntime.sleep(float(sys.argv[1]))\n"
_WITHIN = 3_600


@dataclass(frozen=True)
class Shards:
    """Of a job that has ended well: from the first one's start to the last one's end, and on how many instances."""

    count: int
    seconds: float
    instances: int
    each: float


@contextmanager
def files_served(count: int) -> Iterator[list[str]]:
    """Addresses of so many small files on loopback."""
    with TemporaryDirectory(prefix="orca-bench-files-") as name:
        folder = Path(name)
        (folder / "item.txt").write_text("An item.\n")
        with served(folder) as site:
            yield [f"{site.url}/item.txt?n={number}" for number in range(count)]


def submitted(lab: Lab, script: str, data: Mapping[str, Any], *, seconds: float, nodes: int, shards: int) -> Any:
    """A job as it was accepted, of shards that sleep for so many seconds."""
    body = {
        "name": f"{shards} shards on {nodes}",
        "workspace": lab.workspace,
        "script": script,
        "arguments": [seconds],
        "data": data,
        "shards": {"by": "count", "number": shards},
        "nodes": nodes,
    }
    return lab.person.post("jobs/", body)


def until_phase(lab: Lab, job: Any, *phases: str, seconds: float = _WITHIN, every: float = 0.25) -> Any:
    """The job when it is in one of these phases, or has ended. Asks seldom: it would take the cores from the rest."""
    deadline = time.monotonic() + seconds
    while True:
        found = lab.person.get(f"jobs/{job['id']}/")
        if found["phase"] in {*phases, "ended"}:
            return found
        if time.monotonic() > deadline:
            raise ScriptError(f"The job is still {found['phase']} after {seconds:.0f} s.", detail=json.dumps(found))
        time.sleep(every)


def ended_well(lab: Lab, job: Any, *, every: float = 0.5) -> Any:
    """The job when all is over."""
    found = until_phase(lab, job, every=every)
    if found["state"] != "succeeded":
        raise ScriptError(f"A job {found['state']}: {found['message']}", detail=json.dumps(found)[:2_000])
    return found


def shards_of(lab: Lab, job: Any) -> Shards:
    """When the shards of a job ran, by what the API tells of them."""
    rows = []
    page = lab.person.get(f"jobs/{job['id']}/shards/", page_size=200)
    rows += page["results"]
    while page["next"]:
        page = lab.person.api.get(page["next"]).json()
        rows += page["results"]
    rows = [row for row in rows if not row["superseded"]]
    began = [datetime.fromisoformat(row["started_at"]).timestamp() for row in rows]
    ended = [datetime.fromisoformat(row["finished_at"]).timestamp() for row in rows]
    spent = sum(ended) - sum(began)
    return Shards(len(rows), max(ended) - min(began), len({row["instance_id"] for row in rows}), spent / len(rows))
