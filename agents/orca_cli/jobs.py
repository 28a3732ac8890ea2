"""Following a job: one bar for all of its shards, and in the end whether it went well."""

from __future__ import annotations

import time
from typing import Any

from rich.text import Text

from .api import Api, Unreachable
from .errors import CliError, Exit
from .follow import PATIENCE, stops
from .output import Output, dollars, duration, size, state

ENDED = "ended"
_DONE = ("succeeded", "failed", "timed_out", "lost", "cancelled", "skipped")
_PHASES = {
    "searching": "Looking for the data",
    "splitting": "Splitting it into shards",
    "starting": "Starting nodes",
    "running": "Running",
    "gathering": "Gathering the outputs",
    ENDED: "Ended",
}
# Seconds between two looks: a short job is not kept waiting, a long one does not keep the portal busy.
_SHORTEST, _LONGEST = 0.4, 3.0
_EXITS = {"succeeded": Exit.DONE, "cancelled": Exit.INTERRUPTED, "timed_out": Exit.TIMED_OUT, "lost": Exit.ORCA}


def followed(api: Api, out: Output, job: Any) -> Any:
    """Show one bar until the job has ended; with Ctrl-C a person says whether it is to be cancelled, too.

    Raises ``CliError`` when a person leaves it running.
    """
    while True:
        try:
            with out.counting("shards") as bar:
                return _watched(api, out, job, bar.show)
        except KeyboardInterrupt:
            if stops(out, f"the job {job['name']}"):
                job = api.post(f"jobs/{job['id']}/cancel/")
                out.note("Cancelling the job …")
                continue
            raise CliError(
                "You left; the job goes on.",
                hint=f"Follow it: orca job status {job['id']} --follow. Cancel it: orca job cancel {job['id']}",
                code="left",
                exit_code=Exit.INTERRUPTED,
            ) from None


def _watched(api: Api, out: Output, job: Any, show: Any) -> Any:
    pause, heard, broken = _SHORTEST, time.monotonic(), False
    while True:
        show(_PHASES.get(job["phase"], job["phase"]), _over(job), job["shards"] or None, _said(job))
        if job["phase"] == ENDED:
            return job
        time.sleep(pause)
        pause = min(pause * 1.3, _LONGEST)
        try:
            job, heard, broken = api.get(f"jobs/{job['id']}/"), time.monotonic(), False
        except Unreachable as error:
            if time.monotonic() - heard > PATIENCE:
                error.hint = f"The job goes on. Follow it again: orca job status {job['id']} --follow"
                raise
            if not broken:
                out.note("The connection broke; trying again. The job goes on.")
            broken = True


def _counts(job: Any) -> dict[str, int]:
    found: dict[str, int] = (job.get("progress") or {}).get("states") or {}
    return found


def _over(job: Any) -> int:
    return sum(_counts(job).get(each, 0) for each in _DONE)


def _said(job: Any) -> str:
    """What a bar cannot show: what runs, what went wrong, what it costs."""
    counts = _counts(job)
    ill = sum(counts.get(each, 0) for each in ("failed", "timed_out", "lost"))
    parts = [f"{counts['running']} running"] if counts.get("running") else []
    parts += [f"{ill} failed"] if ill else []
    parts += [dollars(job["cost"])] if job.get("cost") is not None else []
    return ", ".join(parts)


def exit_code_of(job: Any) -> int:
    """What a shell should see of a job that has ended; one whose outputs could not be gathered has not ended well."""
    if job["state"] == "succeeded" and job.get("reason"):
        return int(Exit.ORCA)
    return int(_EXITS.get(job["state"], Exit.REFUSED))


def lines_of(job: Any) -> list[Text]:
    """What a person wants to know of a job."""
    phase = "" if job["phase"] == ENDED else f", {_PHASES.get(job['phase'], job['phase']).lower()}"
    found = [Text.assemble((job["name"], "bold"), " ", state(job["state"]), phase)]
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in _counts(job).items() if count)
    rows = [
        ("id", job["id"]),
        ("shards", f"{job['shards']}{f' ({counts})' if counts else ''}" if job["shards"] else ""),
        ("items", f"{job['items']}, {size(job.get('bytes'))}" if job.get("items") else ""),
        ("nodes", job["nodes"]),
        ("took", duration(job["seconds"]) if job.get("seconds") is not None else ""),
        ("cost", _cost(job)),
        ("outputs", _outputs(job)),
    ]
    found += [Text(f"  {name:<9} {value}") for name, value in rows if value]
    return found + ([Text(f"  {job['message']}")] if job.get("message") else [])


def _cost(job: Any) -> str:
    if job.get("cost") is None:
        return ""
    return dollars(job["cost"]) + (f" of at most {dollars(job['budget'])}" if job.get("budget") else "")


def _outputs(job: Any) -> str:
    if job.get("outputs_deleted_at"):
        return "deleted"
    if not job.get("output_files"):
        return ""
    until = f", kept until {job['expires_at'][:10]}" if job.get("expires_at") else ""
    return f"{job['output_files']} files, {size(job.get('output_bytes'))}{until}"
