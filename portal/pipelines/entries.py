"""One step in the book of what agents report: see `reports`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from agents.orca_agent import protocol
from portal.pipelines.models import OPEN, TRANSITIONS, Step
from portal.workspaces import instances


@dataclass
class Entry:
    """A step as the database has it, and what is to become of it."""

    step: Step
    owner_id: str
    changes: dict[str, Any] = field(default_factory=dict)

    def now(self, name: str) -> Any:
        """What a field of it holds with all that has been read until now."""
        return self.changes.get(name, getattr(self.step, name))

    def move(self, target: str, *, among: Iterable[str] = OPEN, **fields: Any) -> bool:
        """Change the state where the table allows it, and ``fields`` with it."""
        state = self.now("state")
        if state not in among or target not in TRANSITIONS[state]:
            return False
        self.changes |= {"state": target, **fields}
        return True


def try_of(instance_id: str, entry: Entry, event: protocol.StepFinished) -> dict[str, Any]:
    """What is kept of a try that ended ill and is followed by another."""
    return {
        "attempt": event.attempt,
        "execution": entry.now("executions"),
        "state": event.state,
        "exit_code": event.exit_code,
        "signal": event.signal,
        "reason": event.reason[:40],
        "message": event.message[:500],
        "instance_id": instance_id,
        "started_at": instances.instant(event.started_at).isoformat(),
        "finished_at": instances.instant(event.finished_at).isoformat(),
        "log_lines": max(entry.now("log_lines"), event.log.lines),
    }


def own_key(event: protocol.StepFinished, key: str) -> str:
    """A log's key counts only where the step's own things lie."""
    return key if key.startswith(f"runs/{event.run}/{event.step}/") and ".." not in key else ""
