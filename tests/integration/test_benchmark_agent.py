"""The benchmark of the agent runs, reports what it should, and the agent stays as small as it was meant to be."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from scripts.orca.paths import ROOT

pytestmark = pytest.mark.cloud


def test_it_reports_and_the_agent_is_small() -> None:
    command = [sys.executable, "-m", "scripts.orca.bench", "agent", "--starts", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["benchmark"] == "agent"
    figures = report["figures"]
    assert {"idle_memory_mb", "first_poll_ms", "first_poll_unpacked_ms", "bare_python_ms"} <= figures.keys()
    assert set(figures["first_poll_ms"]) == {"median", "p95", "n", "unit"}
    assert report["ratios"]["first_poll_to_bare_python"] > 1
    assert 10 < figures["idle_memory_mb"]["median"] < 45
    assert {"python", "agent_python", "moto"} <= report["versions"].keys()
