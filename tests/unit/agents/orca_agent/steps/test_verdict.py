"""How a step ended is said so that its owner knows what to do."""

from __future__ import annotations

import pytest

from agents.orca_agent.orders import Limits
from agents.orca_agent.steps.process import Ending
from agents.orca_agent.steps.verdict import judge

LIMITS = Limits(seconds=5, memory_mb=64, processes=8)


@pytest.mark.parametrize(
    ("ending", "stopped", "state", "reason", "message"),
    [
        (Ending(exit_code=0), "", "succeeded", "completed", ""),
        (Ending(exit_code=2), "", "failed", "exit_code", "It ended with exit code 2."),
        (Ending(signal=9), "", "failed", "signal", "It was ended by signal 9 (SIGKILL)."),
        (Ending(signal=62), "", "failed", "signal", "It was ended by signal 62 (unknown)."),
        (Ending(signal=25), "", "failed", "disk_limit", "It wrote a file that is larger than the disk has room for."),
        (Ending(exit_code=0, reason="time_limit"), "", "timed_out", "time_limit", "It ran for more than 5 seconds."),
        (Ending(signal=9, reason="memory_limit"), "", "failed", "memory_limit", "It used more than 64 MB of memory."),
        (
            Ending(signal=9, reason="process_limit"),
            "",
            "failed",
            "process_limit",
            "It had more than 8 processes and threads.",
        ),
        (Ending(signal=15, reason="stopped"), "cancelled", "cancelled", "cancelled", "It was cancelled."),
        (Ending(exit_code=0), "cancelled", "succeeded", "completed", ""),
        (Ending(signal=9, reason="memory_limit"), "cancelled", "failed", "memory_limit", None),
        (Ending(signal=9, reason="stopped"), "disk_limit", "failed", "disk_limit", None),
        (Ending(failed="No such file."), "", "failed", "start_failed", "It could not be started. No such file."),
    ],
)
def test_verdicts(ending: Ending, stopped: str, state: str, reason: str, message: str | None) -> None:
    verdict = judge(ending, LIMITS, stopped)
    assert (verdict.state, verdict.reason) == (state, reason)
    assert message is None or verdict.message == message
    assert (verdict.exit_code, verdict.signal) == (ending.exit_code, ending.signal)
