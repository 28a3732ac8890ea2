"""How an attempt ended: said once, and remembered, so that a message that comes twice does not run twice."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Callable

from agents.orca_agent.ended import Ended
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


def report(ended: Ended, emit: Emit, finished: StepFinished) -> StepFinished:
    """Say how an attempt ended, then remember that it has been said."""
    finished = presentable(finished)
    emit(finished)
    ended.add(StepKey(finished.run, finished.step, finished.attempt))
    return finished


def finish_unstarted(ended: Ended, emit: Emit, key: StepKey, verdict: Verdict) -> StepFinished:
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
    return report(ended, emit, finished)
