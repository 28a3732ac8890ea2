"""The peers of a job's shards do the same work, and tell how long it took without their own start."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from scripts.orca.bench.fanout_scale import overhead_ms
from scripts.orca.bench.shard_peers import parallel_seconds
from scripts.orca.console import ScriptError


@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not there")
def test_parallel_runs_as_many_at_once_as_there_are_slots(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(0.4)"]
    took = parallel_seconds(tmp_path, slots=2, shards=4, command=command)
    assert 0.8 <= took < 20
    assert len((tmp_path / "parallel.log").read_text().splitlines()) == 5


@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not there")
def test_a_shard_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScriptError):
        parallel_seconds(tmp_path, slots=1, shards=1, command=[sys.executable, "-c", "raise SystemExit(1)"])


def test_overhead_is_what_slots_are_taken_for_beyond_the_sleep() -> None:
    assert overhead_ms(12.0, slots=2, shards=20, seconds=1.0) == pytest.approx(200.0)
    assert overhead_ms(10.0, slots=2, shards=20, seconds=1.0) == 0
