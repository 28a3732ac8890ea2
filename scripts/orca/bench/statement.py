"""How long a month's statement takes for somebody with very many usage records."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from scripts.orca.bench.figures import Report
from scripts.orca.bench.pages import portal_environment
from scripts.orca.console import ScriptError, step
from scripts.orca.paths import ROOT


def statement(report: Report, folder: Path, *, records: int, turns: int = 7) -> None:
    """Adds the times of the statement and of its page, and how quickly records are written down."""
    command = [sys.executable, "-m", "scripts.orca.bench.statement_scene", str(records), str(turns)]
    home = folder / "statement"
    home.mkdir()
    with step(f"{records} usage records"):
        done = subprocess.run(
            command, cwd=ROOT, env=portal_environment(home), capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise ScriptError("The statement could not be made.", detail=done.stderr[-3_000:])
    found = json.loads(done.stdout.splitlines()[-1])
    report.add("statement_ms", found["made_ms"], "ms")
    report.add("statement_page_ms", found["page_ms"], "ms")
    report.add("records_written_per_s", [found["records_per_s"]], "1/s")
