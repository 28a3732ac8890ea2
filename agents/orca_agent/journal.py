"""What the agent has in hand, on disk: a record for each message, so that its successor can clean up after it.

A file for each message: one line for the message, and one for each thing that became known of it later. Of a file whose
first line is torn nothing had started yet; of a torn last line nothing had come.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Dict, Final, Iterator, List, Mapping, Tuple

from agents.orca_agent.disk import patiently, write_at
from agents.orca_agent.fields import ID, Fields, Malformed, load_object

SUFFIX: Final = ".message"
ACKNOWLEDGED: Final = {"acknowledged": True}


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
        """Begin the record of a message that has just come; when this returns it is kept."""
        text = "".join(json.dumps(line) + "\n" for line in _lines(record))
        patiently(lambda: self._path(record.message).write_text(text))

    def guard(self, record: Record, step: str, guard: Guard) -> None:
        """Note the processes of a step that has started."""
        record.guards[step] = guard
        self._add(record, _guard_line(step, guard))

    def acknowledge(self, record: Record) -> Record:
        """Note that the message is gone while its steps go on."""
        self._add(record, ACKNOWLEDGED)
        return replace(record, acknowledged=True)

    def _add(self, record: Record, fact: Mapping[str, object]) -> None:
        """One more line, unless the record has gone."""
        data = json.dumps(fact).encode() + b"\n"
        with suppress(FileNotFoundError):
            patiently(lambda: self._append(self._path(record.message), data))

    def _append(self, path: Path, data: bytes) -> None:
        with self._lock, path.open("r+b", buffering=0) as file:
            write_at(file.fileno(), data, file.seek(0, os.SEEK_END))

    def remove(self, message: str) -> None:
        self._path(message).unlink(missing_ok=True)

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


def _lines(record: Record) -> Iterator[Mapping[str, object]]:
    yield {
        "message": record.message,
        "receipt": record.receipt,
        "machine": record.machine,
        "steps": [{"run": key.run, "step": key.step, "attempt": key.attempt} for key in record.steps],
    }
    for step, guard in record.guards.items():
        yield _guard_line(step, guard)
    if record.acknowledged:
        yield ACKNOWLEDGED


def _guard_line(step: str, guard: Guard) -> Mapping[str, object]:
    return {"step": step, "pid": guard.pid, "start": guard.start, "session": guard.session}


def _parse(body: bytes) -> Record:
    first, *later = body.split(b"\n")[:-1] or [b""]
    fields = load_object(first, "record")
    record = Record(
        message=fields.text("message"),
        receipt=fields.text("receipt", limit=4_096),
        machine=fields.text("machine"),
        steps=fields.objects("steps", _step, limit=1_000),
    )
    for line in later:
        fact = load_object(line, "record")
        if fact.has("step"):
            record.guards[fact.match("step", ID)] = _guard(fact)
        elif fact.flag("acknowledged", default=False):
            record = replace(record, acknowledged=True)
    return record


def _step(fields: Fields) -> StepKey:
    return StepKey(fields.match("run", ID), fields.match("step", ID), fields.integer("attempt"))


def _guard(fields: Fields) -> Guard:
    return Guard(fields.integer("pid", low=1), fields.integer("start"), fields.integer("session"))
