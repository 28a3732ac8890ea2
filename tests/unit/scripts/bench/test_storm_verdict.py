"""The storm counts what is lost and what is applied twice, each kind of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from scripts.orca.bench.storm_clients import Sent
from scripts.orca.bench.storm_verdict import LINES, Verdict, judge

RUN = "01run"


def run_of(**other: Any) -> dict[str, Any]:
    step = {"reason": "completed", "message": "", "outputs": [{"path": "result.txt"}]}
    times = {"created_at": "1", "started_at": "2", "finished_at": "3"}
    return {"id": RUN, "state": "succeeded", "steps": [step], **times, **other}


def log_of(token: str = "7-1", lines: int = LINES) -> list[str]:
    return [f"{token} {number}" for number in range(lines)]


def judged(
    run: dict[str, Any], log: list[str], *, seen: dict[str, Any] | None = None, begun: int = 1, ended: int = 1
) -> Verdict:
    found = Verdict()
    sent = Sent("storm 1", asked=0.0, id=RUN, ended=1.0, seen=run if seen is None else seen)
    judge(found, sent, run, log, Counter({(RUN, "begun"): begun, (RUN, "ended"): ended}))
    return found


def test_a_run_that_ended_well_is_counted_once() -> None:
    found = judged(run_of(), log_of())
    assert (found.ended, found.lost, found.failed, found.short_logs, found.reruns) == (1, 0, 0, 0, 0)
    assert (found.applied_twice, found.strange) == (0, [])


def test_a_script_that_was_executed_again_is_a_rerun_and_no_fault() -> None:
    found = judged(run_of(), log_of(), begun=3, ended=2)
    assert (found.ended, found.reruns, found.applied_twice) == (1, 2, 0)


@pytest.mark.parametrize(
    ("run", "ended"),
    [(run_of(state="running"), 1), (run_of(state="lost"), 1), (run_of(), 0)],
    ids=["open", "lost", "said to have succeeded, and never executed"],
)
def test_a_run_without_an_honest_end_is_lost(run: dict[str, Any], ended: int) -> None:
    assert judged(run, log_of(), ended=ended).lost == 1


def test_any_other_end_has_failed() -> None:
    assert judged(run_of(state="timed_out"), []).failed == 1


@pytest.mark.parametrize(
    ("run", "log", "kind"),
    [
        (run_of(steps=run_of()["steps"] * 2), log_of(), "steps"),
        (run_of(finished_at="4"), log_of(), "ends"),
        (run_of(steps=[{**run_of()["steps"][0], "outputs": [{}, {}]}]), log_of(), "ends"),
        (run_of(), [*log_of(), log_of()[2]], "logs"),
        (run_of(), [*log_of(lines=2), *log_of("8-1")[2:]], "logs"),
    ],
    ids=["another step", "another end", "an output twice", "a line twice", "lines of two executions"],
)
def test_an_effect_that_is_there_twice_is_counted(run: dict[str, Any], log: list[str], kind: str) -> None:
    found = judged(run, log, seen=run_of())
    assert +found.twice == Counter({kind: 1})


def test_a_log_that_lacks_lines_is_short() -> None:
    assert judged(run_of(), log_of(lines=3)).short_logs == 1
