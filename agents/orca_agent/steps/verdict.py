"""How a step ended, said for programs (state and reason) and for its owner (message)."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Final, Optional, Tuple

from agents.orca_agent.events import CANCELLED, FAILED, SUCCEEDED, TIMED_OUT, Reason
from agents.orca_agent.orders import Limits
from agents.orca_agent.steps.process import Ending


@dataclass(frozen=True)
class Verdict:
    state: str
    reason: str
    message: str
    exit_code: Optional[int] = None
    signal: Optional[int] = None


STOPPED: Final = {
    Reason.CANCELLED: Verdict(CANCELLED, Reason.CANCELLED, "It was cancelled."),
    Reason.DISK_LIMIT: Verdict(
        FAILED, Reason.DISK_LIMIT, "The instance's disk was nearly full, and this step used most of it."
    ),
}


SHUTDOWN_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGINT})
SHUTDOWN_CODES: Final = frozenset(128 + number for number in SHUTDOWN_SIGNALS)
SHUTDOWN_REASONS: Final = frozenset({Reason.REQUIREMENTS_FAILED, Reason.START_FAILED, Reason.AGENT_FAILED})


def may_be_shutdown(verdict: Verdict) -> bool:
    """Whether a step that is shut down together with its instance would look like this."""
    if verdict.reason == Reason.SIGNAL:
        return verdict.signal in SHUTDOWN_SIGNALS
    return verdict.exit_code in SHUTDOWN_CODES or verdict.reason in SHUTDOWN_REASONS


def judge(ending: Ending, limits: Limits, stop_reason: str) -> Verdict:
    """``stop_reason`` is why the agent told the step to stop, or ""."""
    if ending.failed:
        return Verdict(FAILED, Reason.START_FAILED, f"It could not be started. {ending.failed}")
    state, reason, message = _judge(ending, limits, stop_reason)
    return Verdict(state, reason, message, ending.exit_code, ending.signal)


def _judge(ending: Ending, limits: Limits, stop_reason: str) -> Tuple[str, str, str]:
    exceeded = {
        "time_limit": (TIMED_OUT, Reason.TIME_LIMIT, f"It ran for more than {limits.seconds} seconds."),
        "memory_limit": (FAILED, Reason.MEMORY_LIMIT, f"It used more than {limits.memory_mb} MB of memory."),
        "process_limit": (
            FAILED,
            Reason.PROCESS_LIMIT,
            f"It had more than {limits.processes} processes and threads.",
        ),
    }
    if ending.reason in exceeded:
        return exceeded[ending.reason]
    if ending.reason == "stopped" and stop_reason in STOPPED:
        verdict = STOPPED[stop_reason]
        return verdict.state, verdict.reason, verdict.message
    if ending.signal == signal.SIGXFSZ:
        return FAILED, Reason.DISK_LIMIT, "It wrote a file that is larger than the disk has room for."
    if ending.signal is not None:
        return FAILED, Reason.SIGNAL, f"It was ended by signal {ending.signal} ({_name(ending.signal)})."
    if ending.exit_code != 0:
        return FAILED, Reason.EXIT_CODE, f"It ended with exit code {ending.exit_code}."
    return SUCCEEDED, Reason.COMPLETED, ""


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
