"""Which tests wait for one another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.orca.side_by_side import _ROWS, row

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("nodeid", "expected"),
    [
        ("tests/e2e/test_ssh.py::test_a", "front-door"),
        ("tests/e2e/test_demo_satellite.py::test_a", "own"),
        ("tests/e2e/test_jobs.py::test_a", "own"),
        ("tests/e2e/test_jobs_faults.py::test_a", "front-door"),
        ("tests/integration/test_x.py::test_a[1]", "parts"),
        ("tests/terraform/test_modules.py::test_a", "parts"),
        ("tests/unit/portal/web/test_in_browser.py::test_a", "parts"),
        ("tests/unit/test_x.py::test_a", "tests/unit/test_x.py::test_a"),
    ],
)
def test_rows_are_told_from_where_a_test_lies(nodeid: str, expected: str) -> None:
    assert row(nodeid) == expected


def test_every_place_with_a_row_is_there() -> None:
    for place in _ROWS:
        assert list(REPOSITORY.glob(f"{place}*")), place


def test_a_row_goes_to_one_worker(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "e2e"
    folder.mkdir(parents=True)
    body = "import os, pytest\n@pytest.mark.parametrize('n', range(8))\ndef test_a(n):\n"
    (folder / "test_a.py").write_text(body + "    open(os.environ['PYTEST_XDIST_WORKER'], 'w').close()\n")
    rows = ["-n", "2", "--dist", "loadgroup", "-p", "scripts.orca.side_by_side"]
    command = [sys.executable, "-m", "pytest", *rows, "-c", os.devnull, "--rootdir", str(tmp_path), "tests"]
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command, cwd=tmp_path, env=outer | {"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=False
    )
    assert "8 passed" in done.stdout, done.stdout
    assert len(list(tmp_path.glob("gw*"))) == 1
