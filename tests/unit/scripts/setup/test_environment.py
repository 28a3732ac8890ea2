"""The virtual environment: installed once, again when the requirements change, though the network stutters."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts.orca.console import ScriptError
from scripts.orca.paths import VENV
from scripts.orca.setup import environment
from scripts.orca.setup.environment import command_ensure, environment_install, is_current

# Stands in for the environment's Python: fails as often as the file "faults" says, with the words in "words".
_PYTHON = """#!/bin/sh
case "$*" in "-I -c"*) exit 0;; esac
echo "$@" >>{folder}/calls
left=$(cat {folder}/faults)
if [ "$left" -gt 0 ]; then echo $((left - 1)) >{folder}/faults; cat {folder}/words; exit 1; fi
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment whose Python only pretends."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    made = tmp_path / "venv"
    python = made / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(_PYTHON.format(folder=made))
    python.chmod(0o755)
    (made / "faults").write_text("0")
    (made / "words").write_text("")
    return made


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text("one==1\n")
    return path


def _calls(folder: Path) -> int:
    """How often pip was called."""
    return len((folder / "calls").read_text().splitlines())


def test_it_is_current_until_the_requirements_change(folder: Path, requirements: Path) -> None:
    assert not is_current(folder, requirements)
    environment_install(folder, requirements, "Packages")
    assert is_current(folder, requirements)
    requirements.write_text("one==2\n")
    assert not is_current(folder, requirements)


def test_a_passing_network_fault_is_tried_again(folder: Path, requirements: Path) -> None:
    (folder / "faults").write_text("2")
    (folder / "words").write_text("ReadTimeoutError: HTTPSConnectionPool: Read timed out.\n")
    environment_install(folder, requirements, "Packages")
    assert _calls(folder) == 3


def test_a_network_that_stays_away_is_given_up(folder: Path, requirements: Path) -> None:
    (folder / "faults").write_text("99")
    (folder / "words").write_text("Temporary failure in name resolution\n")
    with pytest.raises(ScriptError) as given_up:
        environment_install(folder, requirements, "Packages")
    assert "Temporary failure in name resolution" in given_up.value.detail
    assert not is_current(folder, requirements)


def test_what_no_repetition_mends_is_not_repeated(folder: Path, requirements: Path) -> None:
    (folder / "faults").write_text("99")
    (folder / "words").write_text("error: command 'gcc' failed\n")
    with pytest.raises(ScriptError):
        environment_install(folder, requirements, "Packages")
    assert _calls(folder) == 1


def test_a_broken_environment_is_made_anew(folder: Path, requirements: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "bin" / "python").unlink()
    monkeypatch.setattr(environment, "_pip_install", lambda *_: None)
    environment_install(folder, requirements, "Packages")
    assert (folder / "pyvenv.cfg").is_file()
    assert not (folder / "faults").exists()
    assert is_current(folder, requirements)


def test_the_command_line_stands_beside_python(tmp_path: Path) -> None:
    folder = tmp_path / "clone" / ".venv"
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {VENV}/bin/python "$@"\n')
    python.chmod(0o755)
    (tmp_path / "clone" / "agents").symlink_to(Path(__file__).parents[4] / "agents")
    for _ in range(2):
        command_ensure(folder)
    (tmp_path / "orca").symlink_to(folder / "bin" / "orca")
    done = subprocess.run([tmp_path / "orca", "--version"], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.startswith("orca ")
