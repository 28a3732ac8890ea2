"""The end of a step is always told, in a form that the portal takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agents.orca_agent.events import Event, LogSummary, Output, StepFinished, event_json, parse_event
from agents.orca_agent.ids import new_id
from agents.orca_agent.journal import StepKey
from agents.orca_agent.steps.result import earlier_result, finish_unstarted, report
from agents.orca_agent.steps.verdict import Verdict
from tests.unit.agents.orca_agent.doubles import MemoryBucket

KEY = StepKey(new_id(), new_id(), 1)
VERDICT = Verdict("failed", "requirements_failed", "pip said no", 1)


def finished() -> StepFinished:
    return finish_unstarted(MemoryBucket(), lambda event: None, KEY, VERDICT)


def test_the_marker_is_there_before_the_event() -> None:
    bucket, seen = MemoryBucket(), []
    told = finish_unstarted(bucket, lambda event: seen.append((event, earlier_result(bucket, KEY))), KEY, VERDICT)
    assert seen == [(told, told)]


def test_a_bucket_that_fails_does_not_keep_the_end_from_being_told() -> None:
    seen: list[Event] = []
    told = finish_unstarted(MemoryBucket(fail={"result.json"}), seen.append, KEY, VERDICT)
    assert seen == [told]


@pytest.mark.parametrize(
    "broken",
    [
        {"message": "nul \0 and \0"},
        {"message": "x" * 10_000},
        {"outputs": (Output("a//b", 1),)},
        {"outputs": (Output("x" * 5_000, 1),)},
        {"log": LogSummary(key="k" * 2_000)},
    ],
    ids=str,
)
def test_what_the_portal_would_refuse_is_made_presentable(broken: dict[str, Any]) -> None:
    seen: list[Event] = []
    told = report(MemoryBucket(), seen.append, replace(finished(), **broken))
    assert seen == [told]
    assert parse_event(event_json(told)) == told
    assert (told.state, told.exit_code) == ("failed", 1)
