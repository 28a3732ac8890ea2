"""What the agent reports: instances that live, steps that start, speak and end."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Callable, ClassVar, Dict, Final, Mapping, Optional, Tuple

from agents.orca_agent.fields import (
    CODE,
    ID,
    Fields,
    Malformed,
    clean,
    matched,
    public_key,
    read_number,
    relative_path,
)

SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
TIMED_OUT: Final = "timed_out"
CANCELLED: Final = "cancelled"
LOST: Final = "lost"
FINAL_STATES: Final = frozenset({SUCCEEDED, FAILED, TIMED_OUT, CANCELLED, LOST})

STREAMS: Final = frozenset({"out", "err", "orca"})

MAX_LINE: Final = 8_192  # characters in one line of a log
MAX_LOG_LINES: Final = 2_000  # lines in one event
MAX_OUTPUTS: Final = 1_000  # outputs listed in one event
MAX_MESSAGE: Final = 4_000  # characters in the message of a finished step
ENGINE_READY: Final = "ready"
ENGINE_COMING: Final = "coming"
ENGINE_NONE: Final = "none"
# What the portal's database has room for.
MOST: Final = 2**31 - 1
MOST_ATTEMPTS: Final = 2**15 - 1


class Reason:
    """Why a step ended as it did. The portal must accept codes that it does not know."""

    COMPLETED: Final = "completed"
    EXIT_CODE: Final = "exit_code"
    SIGNAL: Final = "signal"
    TIME_LIMIT: Final = "time_limit"
    MEMORY_LIMIT: Final = "memory_limit"
    PROCESS_LIMIT: Final = "process_limit"
    DISK_LIMIT: Final = "disk_limit"
    OUTPUT_LIMIT: Final = "output_limit"
    OUTPUT_FAILED: Final = "output_failed"
    REQUIREMENTS_FAILED: Final = "requirements_failed"
    BUNDLE_INVALID: Final = "bundle_invalid"
    INPUT_FAILED: Final = "input_failed"
    SECRET_MISSING: Final = "secret_missing"  # noqa: S105
    TASK_INVALID: Final = "task_invalid"
    START_FAILED: Final = "start_failed"
    CONTAINER_UNAVAILABLE: Final = "container_unavailable"
    IMAGE_UNAVAILABLE: Final = "image_unavailable"
    BUILD_FAILED: Final = "build_failed"
    CANCELLED: Final = "cancelled"
    AGENT_FAILED: Final = "agent_failed"


@dataclass(frozen=True)
class Event:
    """Something that happened. ``id`` is the same however often it is delivered."""

    kind: ClassVar[str] = ""
    id: str
    at: float


@dataclass(frozen=True)
class InstanceRegistered(Event):
    """The agent has started. ``agent_version`` is the sha256 of its archive."""

    kind: ClassVar[str] = "instance.registered"
    boot_id: str
    instance_type: str
    private_ip: str
    public_ip: str
    agent_version: str
    slots: int
    cpus: int
    memory_mb: int
    ssh_host_keys: Tuple[str, ...] = ()


@dataclass(frozen=True)
class RunningStep:
    step: str
    attempt: int


@dataclass(frozen=True)
class InstanceHeartbeat(Event):
    """The instance is alive; ``running`` are the steps that it holds.

    ``engine``: whether it has what containers need, one of ``ENGINE_…``; "" from agents that do not say.
    """

    kind: ClassVar[str] = "instance.heartbeat"
    boot_id: str
    slots: int
    running: Tuple[RunningStep, ...]
    load: float
    memory_free_mb: int
    disk_free_mb: int
    engine: str = ""


@dataclass(frozen=True)
class InstanceStopping(Event):
    """The agent leaves; ``returned`` are the ids of steps that it gave back to the queue."""

    kind: ClassVar[str] = "instance.stopping"
    boot_id: str
    returned: Tuple[str, ...]


@dataclass(frozen=True)
class StepStarted(Event):
    kind: ClassVar[str] = "step.started"
    run: str
    step: str
    attempt: int
    boot_id: str


@dataclass(frozen=True)
class StepReturned(Event):
    """The attempt was handed out before, and is one that may be begun once only: it waits for the portal again."""

    kind: ClassVar[str] = "step.returned"
    run: str
    step: str
    attempt: int


@dataclass(frozen=True)
class LogLine:
    """``stream`` is ``out``, ``err``, or ``orca`` for what the agent itself has to say."""

    stream: str
    at: float
    text: str


@dataclass(frozen=True)
class StepLog(Event):
    """Lines ``first``, ``first + 1``, … of a step's log; numbers start at 1.

    An attempt that is run again after a crash starts its log again: ``boot_id`` is that of its `StepStarted`, and
    tells the lines of the two apart.
    """

    kind: ClassVar[str] = "step.log"
    run: str
    step: str
    attempt: int
    first: int
    lines: Tuple[LogLine, ...]
    boot_id: str = ""


@dataclass(frozen=True)
class LogSummary:
    """``lines`` and ``bytes`` count what was kept, ``truncated``: there was more, ``key`` "": none."""

    lines: int = 0
    bytes: int = 0
    truncated: bool = False
    key: str = ""


@dataclass(frozen=True)
class Output:
    """A file that the step left: ``path`` is relative to its output folder."""

    path: str
    size: int
    content_type: str = "application/octet-stream"


@dataclass(frozen=True)
class StepFinished(Event):
    """The end of an attempt. ``outputs_truncated``: there were more files than are listed.

    ``peak_memory_mb`` is that of all processes together; pages that they share may count more than once.
    ``boot_id`` as in `StepLog`, "" where nothing ran. ``image`` is that of the container (``sha256:…``), "" without
    one. ``bytes_in`` came to the instance for it, ``bytes_fetched`` of them from the own bucket; ``bytes_out`` went to
    the bucket.
    """

    kind: ClassVar[str] = "step.finished"
    run: str
    step: str
    attempt: int
    state: str
    exit_code: Optional[int]
    signal: Optional[int]
    reason: str
    message: str
    started_at: float
    finished_at: float
    peak_memory_mb: float = 0.0
    cpu_seconds: float = 0.0
    log: LogSummary = field(default_factory=LogSummary)
    outputs: Tuple[Output, ...] = ()
    outputs_truncated: bool = False
    boot_id: str = ""
    image: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    bytes_fetched: int = 0


def event_json(event: Event) -> Dict[str, Any]:
    """An event as the JSON object that stands in an envelope."""
    values: Dict[str, Any] = {"kind": event.kind, **asdict(event)}
    if isinstance(event, StepLog):
        values["lines"] = [[line.stream, line.at, line.text] for line in event.lines]
    return values


def parse_event(value: object) -> Optional[Event]:
    """One event, or None for a kind that this version does not know. Raises `Malformed`."""
    fields = Fields.of(value, "event")
    kind = fields.text("kind", limit=64)
    base = {"id": fields.identifier("id"), "at": fields.number("at")}
    read = _READERS.get(kind)
    return read(fields, base) if read else None


def _registered(fields: Fields, base: Dict[str, Any]) -> Event:
    return InstanceRegistered(
        **base,
        boot_id=fields.text("boot_id", limit=64),
        instance_type=fields.text("instance_type", limit=32, default=""),
        private_ip=fields.text("private_ip", limit=45, default=""),
        public_ip=fields.text("public_ip", limit=45, default=""),
        agent_version=fields.text("agent_version", limit=64, default=""),
        slots=fields.integer("slots", high=10_000),
        cpus=fields.integer("cpus", high=10_000),
        memory_mb=fields.integer("memory_mb", high=MOST),
        ssh_host_keys=fields.items("ssh_host_keys", public_key, limit=10),
    )


def _heartbeat(fields: Fields, base: Dict[str, Any]) -> Event:
    return InstanceHeartbeat(
        **base,
        boot_id=fields.text("boot_id", limit=64),
        slots=fields.integer("slots", high=10_000),
        running=fields.objects(
            "running",
            lambda item: RunningStep(item.identifier("step"), item.integer("attempt", low=1, high=MOST_ATTEMPTS)),
            limit=10_000,
        ),
        load=fields.number("load", default=0.0),
        memory_free_mb=fields.integer("memory_free_mb", high=MOST, default=0),
        disk_free_mb=fields.integer("disk_free_mb", high=MOST, default=0),
        engine=fields.text("engine", limit=40, default=""),
    )


def _stopping(fields: Fields, base: Dict[str, Any]) -> Event:
    returned = fields.items("returned", lambda value, where: matched(value, where, ID), limit=10_000)
    return InstanceStopping(**base, boot_id=fields.text("boot_id", limit=64), returned=returned)


def _of_step(fields: Fields, base: Dict[str, Any]) -> Dict[str, Any]:
    attempt = fields.integer("attempt", low=1, high=MOST_ATTEMPTS)
    return {**base, "run": fields.identifier("run"), "step": fields.identifier("step"), "attempt": attempt}


def _started(fields: Fields, base: Dict[str, Any]) -> Event:
    return StepStarted(**_of_step(fields, base), boot_id=fields.text("boot_id", limit=64))


def _returned(fields: Fields, base: Dict[str, Any]) -> Event:
    return StepReturned(**_of_step(fields, base))


def _log(fields: Fields, base: Dict[str, Any]) -> Event:
    return StepLog(
        **_of_step(fields, base),
        first=fields.integer("first", low=1, high=MOST),
        lines=fields.items("lines", _line, limit=MAX_LOG_LINES),
        boot_id=fields.text("boot_id", limit=64, default=""),
    )


def _line(value: object, where: str) -> LogLine:
    if not isinstance(value, list) or len(value) != 3:
        raise Malformed(f"{where} is not [stream, at, text]")
    if not isinstance(value[0], str) or value[0] not in STREAMS:
        raise Malformed(f"{where} has an unknown stream")
    return LogLine(value[0], read_number(value[1], where), clean(value[2], where, MAX_LINE))


def _finished(fields: Fields, base: Dict[str, Any]) -> Event:
    log = fields.child_or_none("log")
    return StepFinished(
        **_of_step(fields, base),
        state=fields.choice("state", FINAL_STATES),
        exit_code=fields.integer("exit_code", low=-MOST, high=MOST) if fields.has("exit_code") else None,
        signal=fields.integer("signal", low=1, high=128) if fields.has("signal") else None,
        reason=fields.match("reason", CODE, default=""),
        message=fields.text("message", limit=MAX_MESSAGE, default=""),
        started_at=fields.number("started_at"),
        finished_at=fields.number("finished_at"),
        peak_memory_mb=fields.number("peak_memory_mb", default=0.0),
        cpu_seconds=fields.number("cpu_seconds", default=0.0),
        log=_log_summary(log) if log else LogSummary(),
        outputs=fields.objects("outputs", _output, limit=MAX_OUTPUTS),
        outputs_truncated=fields.flag("outputs_truncated", default=False),
        boot_id=fields.text("boot_id", limit=64, default=""),
        image=fields.text("image", limit=80, default=""),
        bytes_in=fields.integer("bytes_in", default=0),
        bytes_out=fields.integer("bytes_out", default=0),
        bytes_fetched=fields.integer("bytes_fetched", default=0),
    )


def _log_summary(fields: Fields) -> LogSummary:
    return LogSummary(
        lines=fields.integer("lines", high=MOST, default=0),
        bytes=fields.integer("bytes", default=0),
        truncated=fields.flag("truncated", default=False),
        key=fields.text("key", limit=300, default=""),
    )


def _output(fields: Fields) -> Output:
    path = relative_path(fields.text("path", limit=1_024), fields.where + ".path")
    content_type = fields.text("content_type", default=Output.content_type)
    return Output(path, fields.integer("size"), content_type)


_READERS: Final[Mapping[str, Callable[[Fields, Dict[str, Any]], Event]]] = {
    InstanceRegistered.kind: _registered,
    InstanceHeartbeat.kind: _heartbeat,
    InstanceStopping.kind: _stopping,
    StepStarted.kind: _started,
    StepReturned.kind: _returned,
    StepLog.kind: _log,
    StepFinished.kind: _finished,
}
