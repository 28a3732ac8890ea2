"""What the agent has in hand, on disk: a record for each message, so that its successor can clean up after it."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Dict, Final, List, Tuple

from agents.orca_agent.fields import ID, Fields, Malformed, load_object

SUFFIX: Final = ".message"


@dataclass(frozen=True)
class StepKey:
    """One attempt at a step."""

    run: str
    step: str
    attempt: int


@dataclass(frozen=True)
class Guard:
    """A step's warden (with its start time in clock ticks) and the session that the step began in."""

    pid: int
    start: int
    session: int


@dataclass(frozen=True)
class Record:
    """A message in hand. ``acknowledged``: it is deleted already, because no message can be held for longer.

    ``machine`` names the system that the process ids belong to.
    """

    message: str
    receipt: str
    machine: str
    steps: Tuple[StepKey, ...]
    acknowledged: bool = False
    guards: Dict[str, Guard] = field(default_factory=dict)


def this_machine() -> str:
    """Changes with every boot, and with every namespace of process ids."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 (it is no path)


class Journal:
    """Records in a folder, one file each; any thread may write."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def write(self, record: Record) -> None:
        with self._lock:
            self._write(record)

    def _write(self, record: Record) -> None:
        path = self._path(record.message)
        partial = path.with_suffix(".part")
        partial.write_text(json.dumps(asdict(record)))
        partial.replace(path)

    def guard(self, record: Record, step: str, guard: Guard) -> None:
        """Note the processes of a step that has started. The message may have been acknowledged meanwhile."""
        with self._lock:
            record.guards[step] = guard
            with contextlib.suppress(FileNotFoundError):
                kept = _parse(self._path(record.message).read_bytes())
                self._write(replace(record, acknowledged=kept.acknowledged))

    def remove(self, message: str) -> None:
        with self._lock:
            self._path(message).unlink(missing_ok=True)

    def acknowledge(self, record: Record) -> Record:
        """Note that the message is gone while its steps go on."""
        with self._lock:
            changed = replace(record, acknowledged=True)
            self._write(changed)
        return changed

    def read_all(self) -> List[Record]:
        """What an earlier agent has left. Records that cannot be read are removed."""
        records = []
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                records.append(_parse(path.read_bytes()))
            except (OSError, Malformed):
                path.unlink(missing_ok=True)
        return records

    def _path(self, message: str) -> Path:
        return self._folder / (message.replace("/", "_")[:100] + SUFFIX)


def _parse(body: bytes) -> Record:
    fields = load_object(body, "record")
    guards = fields.child("guards") if fields.has("guards") else None
    steps = fields.objects("steps", _step, limit=1_000)
    return Record(
        message=fields.text("message"),
        receipt=fields.text("receipt", limit=4_096),
        machine=fields.text("machine"),
        steps=steps,
        acknowledged=fields.flag("acknowledged", default=False),
        guards={key.step: _guard(guards.child(key.step)) for key in steps if guards and guards.has(key.step)},
    )


def _step(fields: Fields) -> StepKey:
    return StepKey(fields.match("run", ID), fields.match("step", ID), fields.integer("attempt"))


def _guard(fields: Fields) -> Guard:
    return Guard(fields.integer("pid", low=1), fields.integer("start"), fields.integer("session"))
