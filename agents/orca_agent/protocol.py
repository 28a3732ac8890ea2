"""What the portal and the agent say to each other; the only module of the agent that the portal imports.

The portal writes tasks and desired state (`orders`), the agent writes `events` in a signed envelope; each
reads the other's with the ``parse_…`` and ``open_…`` functions, which trust nothing. Times are seconds
since the epoch, sizes are bytes unless the name says ``_mb``. Unknown keys are ignored and unknown kinds of
events skipped, so that two versions live side by side during a deploy.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Callable, Final, Optional, Sequence, Tuple

from agents.orca_agent.events import (
    CANCELLED,
    FAILED,
    FINAL_STATES,
    LOST,
    MAX_LINE,
    MAX_LOG_LINES,
    MAX_MESSAGE,
    MAX_OUTPUTS,
    STREAMS,
    SUCCEEDED,
    TIMED_OUT,
    Event,
    InstanceHeartbeat,
    InstanceRegistered,
    InstanceStopping,
    LogLine,
    LogSummary,
    Output,
    Reason,
    RunningStep,
    StepFinished,
    StepLog,
    StepReturned,
    StepStarted,
    event_json,
    parse_event,
)
from agents.orca_agent.fields import ID, SHA256, Malformed, ProtocolError, TooLarge, load_object, safe_name
from agents.orca_agent.orders import (
    MAX_INPUTS,
    MAX_ITEMS,
    MAX_SECRETS,
    MAX_SLICE,
    MAX_TASKS,
    RUNTIMES,
    VERSION,
    AnyTask,
    Container,
    Data,
    Desired,
    Input,
    InvalidTask,
    Limits,
    Release,
    Script,
    Task,
    WrongWorkspace,
    desired_body,
    parse_desired,
    parse_tasks,
    tasks_body,
)

MAX_ENVELOPE_BYTES: Final = 200_000  # SQS takes 256 KiB a message
MAX_EVENTS: Final = 1_000
HEARTBEAT_SECONDS: Final = 10.0
DESIRED_POLL_SECONDS: Final = 2.0


class BadSignature(ProtocolError):
    """The envelope was not signed with the key of the workspace that it names."""

    code = "bad_signature"


@dataclass(frozen=True)
class Envelope:
    """Events that a workspace's key has signed.

    ``rejected`` says what was wrong with events that could not be read, ``skipped`` counts those of a kind
    that this version does not know; neither keeps the others from being applied.
    """

    workspace: str
    instance: str
    sent_at: float
    events: Tuple[Event, ...]
    rejected: Tuple[str, ...] = ()
    skipped: int = 0


def sign_envelope(workspace: str, instance: str, events: Sequence[Event], key: bytes, *, sent_at: float) -> str:
    """The body of a message to the events queue. Raises `TooLarge`: then send the events in parts."""
    return sign_payload(workspace, instance, [event_text(event) for event in events], key, sent_at=sent_at)


def sign_payload(workspace: str, instance: str, events: Sequence[str], key: bytes, *, sent_at: float) -> str:
    """Like `sign_envelope`, for events that are JSON text already."""
    head = json.dumps({"workspace": workspace, "instance": instance, "sent_at": sent_at})
    payload = f'{head[:-1]}, "events": [{",".join(events)}]}}'
    outer = {
        "version": VERSION,
        "workspace": workspace,
        "payload": payload,
        "signature": signature(payload, key),
    }
    body = json.dumps(outer, ensure_ascii=False)
    size = len(body.encode())
    if size > MAX_ENVELOPE_BYTES or len(events) > MAX_EVENTS:
        raise TooLarge(f"{len(events)} events make an envelope of {size} bytes")
    return body


def event_text(event: Event) -> str:
    """An event as JSON text, without the two characters that JSON takes but SQS refuses."""
    text = json.dumps(event_json(event), ensure_ascii=False, separators=(",", ":"))
    return text.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")


def envelope_bytes(text: str) -> int:
    """How many bytes JSON text takes as a part of an envelope's payload."""
    return len(json.dumps(text, ensure_ascii=False).encode())


def signature(payload: str, key: bytes) -> str:
    """HMAC-SHA256 of the payload's UTF-8 bytes, in hexadecimal."""
    return hmac.new(key, payload.encode(), hashlib.sha256).hexdigest()


def open_envelope(body: str, key_for: Callable[[str], Optional[bytes]]) -> Envelope:
    """Check and read the body of a message from the events queue.

    ``key_for`` returns the signing key of a workspace's id, or None if there is no such workspace. Nothing
    but that id is believed before the signature holds. Raises `TooLarge`, `Malformed`, `WrongWorkspace` or
    `BadSignature`, all of them `ProtocolError`.
    """
    if len(body) > MAX_ENVELOPE_BYTES or len(body.encode("utf-8", "replace")) > MAX_ENVELOPE_BYTES:
        raise TooLarge(f"the envelope has more than {MAX_ENVELOPE_BYTES} bytes")
    outer = load_object(body, "envelope")
    workspace = outer.identifier("workspace")
    payload = outer.text("payload", limit=MAX_ENVELOPE_BYTES)
    claimed = outer.match("signature", SHA256)
    key = key_for(workspace)
    if key is None:
        raise WrongWorkspace("there is no such workspace")
    if not hmac.compare_digest(signature(payload, key), claimed):
        raise BadSignature("the signature does not fit")
    return _open_payload(payload, workspace)


def _open_payload(payload: str, workspace: str) -> Envelope:
    fields = load_object(payload, "payload")
    if fields.identifier("workspace") != workspace:
        raise WrongWorkspace("the payload belongs to another workspace")
    events, rejected, skipped = [], [], 0
    for value in fields.items("events", lambda value, where: value, limit=MAX_EVENTS):
        try:
            event = parse_event(value)
        except Malformed as error:
            rejected.append(str(error))
            continue
        if event is None:
            skipped += 1
        else:
            events.append(event)
    instance = fields.text("instance", limit=32)
    return Envelope(workspace, instance, fields.number("sent_at"), tuple(events), tuple(rejected), skipped)


__all__ = [
    "CANCELLED",
    "DESIRED_POLL_SECONDS",
    "FAILED",
    "FINAL_STATES",
    "HEARTBEAT_SECONDS",
    "ID",
    "LOST",
    "MAX_ENVELOPE_BYTES",
    "MAX_EVENTS",
    "MAX_INPUTS",
    "MAX_ITEMS",
    "MAX_LINE",
    "MAX_LOG_LINES",
    "MAX_MESSAGE",
    "MAX_OUTPUTS",
    "MAX_SECRETS",
    "MAX_SLICE",
    "MAX_TASKS",
    "RUNTIMES",
    "SHA256",
    "STREAMS",
    "SUCCEEDED",
    "TIMED_OUT",
    "AnyTask",
    "BadSignature",
    "Container",
    "Data",
    "Desired",
    "Envelope",
    "Event",
    "Input",
    "InstanceHeartbeat",
    "InstanceRegistered",
    "InstanceStopping",
    "InvalidTask",
    "Limits",
    "LogLine",
    "LogSummary",
    "Malformed",
    "Output",
    "ProtocolError",
    "Reason",
    "Release",
    "RunningStep",
    "Script",
    "StepFinished",
    "StepLog",
    "StepReturned",
    "StepStarted",
    "Task",
    "TooLarge",
    "WrongWorkspace",
    "desired_body",
    "envelope_bytes",
    "event_json",
    "event_text",
    "open_envelope",
    "parse_desired",
    "parse_event",
    "parse_tasks",
    "safe_name",
    "sign_envelope",
    "sign_payload",
    "signature",
    "tasks_body",
]
