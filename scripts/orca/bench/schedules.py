"""How promptly schedules fire that are all due in the same second: part of ``scripts/bench/pipelines``.

The schedules are made through the API, each a no-op script for one moment; the delay of each is from that moment to the
row that says it was fired, which is written in the transaction that starts its run. By the machine's clock.
"""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from scripts.orca.bench.installation import Lab
from scripts.orca.console import ScriptError, say

_CLIENTS = 4
_AT_ONCE = 20
_SECONDS = 300.0


def schedule_delays(lab: Lab, *, count: int = 1_000) -> list[float]:
    """The delays, in milliseconds, of ``count`` schedules of one second. Raises ``ScriptError`` if any did not fire."""
    script, name = lab.script("pass\n"), f"bench-{secrets.token_hex(4)}"
    due_at = _enough_time(lab, script, name, count)
    say(f"  {count} schedules for {due_at:%H:%M:%S} UTC")
    _made(lab, script, [f"{name}-{number}" for number in range(count)], due_at)
    if datetime.now(UTC) >= due_at:
        raise ScriptError("The schedules were not made in time: the machine is busy.")
    time.sleep((due_at - datetime.now(UTC)).total_seconds())
    fires = _fires(lab, name, count)
    if wrong := [fire for fire in fires if fire["state"] != "fired" or fire["run"] is None]:
        raise ScriptError(f"{len(wrong)} schedules of {count} did not fire.", detail=str(wrong[0]))
    if len({fire["run"] for fire in fires}) != count:
        raise ScriptError("Two schedules share a run.")
    return [(datetime.fromisoformat(fire["created_at"]) - due_at).total_seconds() * 1_000 for fire in fires]


def _enough_time(lab: Lab, script: str, name: str, count: int) -> datetime:
    """A moment before which all of them can be made, as the first few show."""
    began = time.monotonic()
    _made(lab, script, [f"warm-{name}-{n}" for n in range(_AT_ONCE)], datetime.now(UTC) + timedelta(days=1))
    each = (time.monotonic() - began) / _AT_ONCE
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=10 + 2 * each * count)


def _made(lab: Lab, script: str, names: list[str], due_at: datetime) -> None:
    body = {"kind": "once", "at": due_at.isoformat(), "action": "script", "script": script, "workspace": lab.workspace}
    with ThreadPoolExecutor(_CLIENTS) as clients:
        list(clients.map(lambda name: lab.person.post("schedules/", body | {"name": name}), names))


def _fires(lab: Lab, name: str, count: int) -> list[dict[str, Any]]:
    """What became of each, once all have been dealt with."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        rows: list[dict[str, Any]] = []
        page = lab.person.get("schedules/", page_size=200)
        while page["results"]:
            rows += [row for row in page["results"] if row["name"].startswith(name)]
            if not page["next"]:
                break
            page = lab.person.ask("GET", page["next"])
        fires = [row["last_fire"] for row in rows if row["last_fire"]]
        if len(fires) == count:
            return fires
        time.sleep(1)
    raise ScriptError(f"Only {len(fires)} schedules of {count} fired within {_SECONDS:.0f} s.")
