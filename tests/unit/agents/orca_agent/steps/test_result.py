"""The end of a step is always told, in a form that the portal takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.orca_agent.ended import Ended
from agents.orca_agent.events import Event, LogSummary, Output, event_json, parse_event
from agents.orca_agent.ids import new_id
from agents.orca_agent.journal import StepKey
from agents.orca_agent.steps.result import finish_unstarted, report
from agents.orca_agent.steps.verdict import Verdict

KEY = StepKey(new_id(), new_id(), 1)
VERDICT = Verdict("failed", "requirements_failed", "pip said no", 1)


@pytest.fixture
def ended(tmp_path: Path) -> Ended:
    return Ended(tmp_path)


def test_the_end_is_told_before_it_is_remembered(ended: Ended) -> None:
    seen: list[tuple[Event, bool]] = []
    told = finish_unstarted(ended, lambda event: seen.append((event, KEY in ended)), KEY, VERDICT)
    assert seen == [(told, False)]
    assert KEY in ended


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
def test_what_the_portal_would_refuse_is_made_presentable(ended: Ended, broken: dict[str, Any]) -> None:
    seen: list[Event] = []
    finished = finish_unstarted(ended, lambda event: None, KEY, VERDICT)
    told = report(ended, seen.append, replace(finished, **broken))
    assert seen == [told]
    assert parse_event(event_json(told)) == told
    assert (told.state, told.exit_code) == ("failed", 1)
