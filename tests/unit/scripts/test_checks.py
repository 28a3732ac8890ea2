"""A gate that fails says why and how to mend it; one that passed is not repeated while its sources stay the same."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from scripts.orca import check
from scripts.orca.check import Gate, gate_pass
from scripts.orca.setup import stamps


@pytest.fixture(autouse=True)
def _stamps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "_FOLDER", tmp_path / "stamps")


def _command(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def _pass(gate: Gate) -> bool:
    return gate_pass(gate, dict(os.environ))


def test_a_failure_shows_the_output_and_the_mend(capsys: pytest.CaptureFixture[str]) -> None:
    gate = Gate("lint", lambda: [_command("print('x.py:1: too long'); raise SystemExit(1)")], "ruff check --fix")
    assert not _pass(gate)
    said = capsys.readouterr().out
    assert "FAIL  lint" in said
    assert "x.py:1: too long" in said
    assert "mend with: ruff check --fix" in said


def test_a_failure_without_a_word_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert not _pass(Gate("types", lambda: [_command("raise SystemExit(3)")]))
    assert "ended with code 3" in capsys.readouterr().out


def test_a_second_command_is_not_tried_when_the_first_fails(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    second = _command(f"open({str(mark)!r}, 'w')")
    assert not _pass(Gate("both", lambda: [_command("raise SystemExit(1)"), second]))
    assert not mark.exists()


def test_what_passed_is_looked_at_again_only_when_its_sources_change(tmp_path: Path) -> None:
    source, calls = tmp_path / "sources" / "main.tf", tmp_path / "calls"
    source.parent.mkdir()
    source.write_text("one")
    count = _command(f"open({str(calls)!r}, 'a').write('x')")
    gate = Gate("valid", lambda: [count], sources=(source.parent,))
    assert _pass(gate) and _pass(gate)
    assert calls.read_text() == "x"
    source.write_text("two")
    assert _pass(gate)
    assert calls.read_text() == "xx"


def test_what_failed_is_not_taken_for_passed(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text("one")
    gate = Gate("valid", lambda: [_command("raise SystemExit(1)")], sources=(tmp_path / "main.tf",))
    assert not _pass(gate)
    assert not _pass(gate)


def test_every_gate_has_a_name_of_its_own() -> None:
    names = [gate.name for gate in check.gates()]
    assert len(names) == len(set(names)) > 5
