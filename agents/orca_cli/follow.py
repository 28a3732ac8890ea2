"""Following a run: its log as it comes, its states on the side, and in the end the exit code of what ran."""

from __future__ import annotations

import sys
import time
from typing import Any

from .api import Api, Unreachable
from .errors import CliError, Exit
from .output import Output, duration

FINAL = frozenset({"succeeded", "failed", "cancelled", "timed_out", "lost", "skipped"})
_BEFORE = frozenset({"waiting", "queued"})
# Seconds that a run is followed without hearing of it before one gives up.
PATIENCE = 300.0
_RECONNECT = 1.0
# Seconds that the last lines of a log may come after the run has ended.
_LAST_LINES = 5.0


class Follower:
    """One run, followed."""

    def __init__(self, api: Api, out: Output, run: Any) -> None:
        self._api, self._out, self.run = api, out, run
        self._seen: dict[str, tuple[int, int]] = {}
        self._told: dict[str, str] = {}

    def follow(self) -> Any:
        """Show the run until it has ended; the run as it ended. Raises ``CliError``."""
        path = f"runs/{self.run['id']}/events/"
        heard, broken = time.monotonic(), False
        while self.run["state"] not in FINAL:
            try:
                with self._api.events(path) as source:
                    for event in source.iter_sse():
                        heard, broken = time.monotonic(), False
                        if event.event == "run":
                            self.show(event.json())
                        elif event.event == "end":
                            break
            except Unreachable as error:
                if time.monotonic() - heard > PATIENCE:
                    error.hint = f"The run goes on. Follow it again: orca runs logs {self.run['id']} --follow"
                    raise
                if not broken:
                    self._out.note("The connection broke; trying again. The run goes on.")
                broken = True
            if self.run["state"] not in FINAL:
                if broken:
                    time.sleep(_RECONNECT)
                self._look(quiet=broken)
        self._last_lines()
        return self.run

    def show(self, run: Any) -> None:
        """What is new in it: the state, and lines of its log."""
        self.run = run
        self._tell(run, ended=False)
        for step in run["steps"]:
            self._lines(step)
        self._tell(run, ended=True)  # how it ended is the last that one sees

    def _look(self, *, quiet: bool) -> None:
        try:
            self.show(self._api.get(f"runs/{self.run['id']}/"))
        except Unreachable:
            if not quiet:
                raise

    def _last_lines(self) -> None:
        """Lines are reported beside the states: the last ones may come a moment later."""
        deadline = time.monotonic() + _LAST_LINES
        while True:
            self.show(self._api.get(f"runs/{self.run['id']}/"))
            missing = [step for step in self.run["steps"] if self._after(step) < step["log_lines"]]
            if not missing or time.monotonic() > deadline:
                return
            time.sleep(0.2)

    def _tell(self, run: Any, *, ended: bool) -> None:
        steps = run["steps"]
        if len(steps) > 1:
            for step in steps:
                if step["state"] not in _BEFORE or step["id"] in self._told:
                    self._say(step["id"], step["name"], step, ended=ended)
        where = steps[0]["instance_id"] if len(steps) == 1 else ""
        self._say("", run["name"], {**run, "instance_id": where}, ended=ended)

    def _say(self, key: str, name: str, what: Any, *, ended: bool) -> None:
        """A state, once."""
        state = what["state"]
        if (state in FINAL) != ended:
            return
        where = f" on {what['instance_id']}" if state == "running" and what["instance_id"] else ""
        if self._told.get(key) == f"{state}{where}":
            return
        self._told[key] = f"{state}{where}"
        took = f" after {duration(what['seconds'])}" if state in FINAL and what["seconds"] is not None else ""
        self._out.note(f"{name}: {state.replace('_', ' ')}{where}{took}", style="dim")

    def _after(self, step: Any) -> int:
        attempt, after = self._seen.get(step["id"], (step["attempt"], 0))
        # Done again, by another instance or in another try, a step's log begins anew.
        return after if attempt == step["attempt"] and after <= step["log_lines"] else 0

    def _lines(self, step: Any) -> None:
        after, path = self._after(step), f"runs/{self.run['id']}/steps/{step['id']}/log/"
        prefix = f"{step['name']} | " if len(self.run["steps"]) > 1 else ""
        while after < step["log_lines"]:
            lines = self._api.get(path, after=after)
            if not lines:
                break
            for line in lines:
                self._out.line(line["text"], line["stream"], prefix)
            after = lines[-1]["number"]
            self._seen[step["id"]] = (step["attempt"], after)


def exit_code_of(run: Any) -> int:
    """What a shell should see of a run that has ended: the exit code of the step that decided it."""
    if run["state"] == "succeeded":
        return Exit.DONE
    if run["state"] == "cancelled":
        return Exit.INTERRUPTED
    ill = [step for step in run["steps"] if step["state"] in {"failed", "timed_out", "lost"}]
    if run["state"] == "lost" or not ill:
        return Exit.ORCA
    step = ill[0]
    if step["state"] == "timed_out":
        return Exit.TIMED_OUT
    if step["signal"]:
        return 128 + int(step["signal"])
    return int(step["exit_code"] or Exit.ORCA)


def why(run: Any) -> list[str]:
    """What a person should know of a run that did not end well, a line a step."""
    found = []
    for step in run["steps"]:
        if step["state"] in {"succeeded", "skipped", "running", *_BEFORE}:
            continue
        code = "" if step["exit_code"] is None else f"Exit code {step['exit_code']}."
        found.append(f"{step['name']} {step['state'].replace('_', ' ')}: {step['message'] or code}".rstrip(": "))
    return found


def followed(api: Api, out: Output, run: Any) -> Any:
    """Follow a run; with Ctrl-C a person says whether it is to stop, too. The run as it ended.

    Raises ``CliError`` when a person leaves it running.
    """
    follower = Follower(api, out, run)
    while True:
        try:
            return follower.follow()
        except KeyboardInterrupt:
            if stops(out, f"the run {run['name']}"):
                follower.run = api.post(f"runs/{run['id']}/cancel/")
                out.note("Stopping the run …")
                continue
            raise CliError(
                "You left; the run goes on.",
                hint=f"Follow it: orca runs logs {run['id']} --follow. Stop it: orca runs stop {run['id']}",
                code="left",
                exit_code=Exit.INTERRUPTED,
            ) from None


def stops(out: Output, what: str) -> bool:
    """Whether ``what`` is to be stopped; where nobody can be asked, it is. Ctrl-C once more leaves it running."""
    if not out.asks:
        return True
    out.note("")
    try:
        out.prompt(f"Stop {what}, too? [Y/n] ")
        return sys.stdin.readline().strip().lower() not in {"n", "no"}
    except KeyboardInterrupt:
        out.note("")
        return False
