"""Processes are killed while runs come in: every run ends, and no effect is there twice."""

from __future__ import annotations

import pytest

from scripts.orca.bench.installation import Lab, Orca
from scripts.orca.bench.storm import storm
from scripts.orca.bench.storm_victims import EVERYONE

pytestmark = pytest.mark.cloud

RUNS = 60


def test_each_process_killed_once_loses_no_run_and_doubles_none(lab: Lab, running_orca: Orca) -> None:
    found = storm(running_orca, lab, runs=RUNS, every=2.0, seed=1, run_seconds=1.0, rounds=1)
    assert sorted(kill.name for kill in found.kills) == sorted(EVERYONE)
    seen = found.verdict
    counts = (seen.ended, seen.lost, seen.failed, seen.short_logs, seen.applied_twice)
    assert counts == (RUNS, 0, 0, 0, 0), seen.strange
    assert all(kill.recovery is not None for kill in found.kills)
