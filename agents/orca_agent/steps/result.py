"""How an attempt ended, kept in the bucket: the marker by which a message that comes twice does not run twice."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from typing import Callable, Optional

from agents.orca_agent.cloud.bucket import Bucket
from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.events import MAX_MESSAGE, Event, LogSummary, StepFinished, event_json, parse_event
from agents.orca_agent.fields import Malformed
from agents.orca_agent.ids import new_id
from agents.orca_agent.journal import StepKey
from agents.orca_agent.steps.verdict import Verdict

log = logging.getLogger(__name__)

Emit = Callable[[Event], object]


def result_prefix(run: str, step: str, attempt: int) -> str:
    """Where in the bucket everything of one attempt goes."""
    return f"runs/{run}/{step}/{attempt}/"


def presentable(finished: StepFinished) -> StepFinished:
    """The event as the portal will take it: one that it refuses would leave the step without an end for ever."""
    finished = replace(finished, message=finished.message.replace("\0", "\ufffd")[:MAX_MESSAGE])
    try:
        parse_event(event_json(finished))
    except Malformed as error:
        log.error("the end of step %s cannot be told in full: %s", finished.step, error)
        return replace(finished, message="", outputs=(), outputs_truncated=True, log=LogSummary())
    return finished


def report(bucket: Bucket, emit: Emit, finished: StepFinished) -> StepFinished:
    """Leave the marker that keeps the step from running twice, then say how it ended."""
    finished = presentable(finished)
    key = result_prefix(finished.run, finished.step, finished.attempt) + "result.json"
    try:
        bucket.put(key, json.dumps(event_json(finished)).encode(), "application/json")
    except CloudError as error:
        log.warning("the result of step %s could not be stored: %s", finished.step, error)
    emit(finished)
    return finished


def finish_unstarted(bucket: Bucket, emit: Emit, key: StepKey, verdict: Verdict) -> StepFinished:
    """Report the end of a step that never ran here, or that nobody can tell about any more."""
    now = time.time()
    finished = StepFinished(
        id=new_id(now),
        at=now,
        run=key.run,
        step=key.step,
        attempt=key.attempt,
        state=verdict.state,
        exit_code=verdict.exit_code,
        signal=verdict.signal,
        reason=verdict.reason,
        message=verdict.message,
        started_at=now,
        finished_at=now,
    )
    return report(bucket, emit, finished)


def earlier_result(bucket: Bucket, key: StepKey) -> Optional[StepFinished]:
    """How this attempt ended, if it has ended before and its message came once more."""
    try:
        stored = bucket.get(result_prefix(key.run, key.step, key.attempt) + "result.json")
        event = parse_event(json.loads(stored.body))
    except (CloudError, ValueError, RecursionError):
        return None
    same = isinstance(event, StepFinished) and (event.run, event.step, event.attempt) == (
        key.run,
        key.step,
        key.attempt,
    )
    return event if same and isinstance(event, StepFinished) else None
