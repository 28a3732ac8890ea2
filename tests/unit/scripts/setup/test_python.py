"""The scripts find a Python that will do, whatever else is called python3 on a machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.orca.paths import ROOT


def _find(tree: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    script = f'source "{tree}/scripts/orca/python.sh"; orca_find_python'
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, env={"PATH": os.defpath, **variables}
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the tree as far as finding a Python goes."""
    (tmp_path / "scripts" / "orca").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "orca" / "python.sh", tmp_path / "scripts" / "orca")
    return tmp_path


def _fake(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_the_environments_own_python_comes_first(tree: Path) -> None:
    _fake(tree / ".venv" / "bin" / "python", f'exec {sys.executable} "$@"')
    assert _find(tree).stdout.strip() == sys.executable


def test_a_broken_environment_is_passed_over(tree: Path) -> None:
    _fake(tree / ".venv" / "bin" / "python", "exit 127")
    found = _find(tree, ORCA_PYTHON="/nowhere/python", PATH=f"{Path(sys.executable).parent}:{os.defpath}")
    assert found.returncode == 0
    assert ".venv" not in found.stdout.replace(str(ROOT), "")


def test_a_shim_is_seen_through(tree: Path) -> None:
    _fake(tree / "shims" / "python3", f'exec {sys.executable} "$@"')
    assert _find(tree, ORCA_PYTHON=str(tree / "shims" / "python3")).stdout.strip() == sys.executable


def test_an_old_python_is_not_taken(tree: Path) -> None:
    _fake(tree / "old", "exit 1")
    assert _find(tree, ORCA_PYTHON=str(tree / "old")).stdout.strip() != str(tree / "old")
