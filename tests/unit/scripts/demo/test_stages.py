"""A demo says how long each stage took, and which one failed and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.orca.console import ScriptError
from scripts.orca.demo import stages
from scripts.orca.demo.stages import Walk
from scripts.orca.run.configuration import Configuration
from scripts.orca.run.options import parse


@pytest.fixture
def walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Walk:
    monkeypatch.setattr(stages, "LOGS", tmp_path)
    monkeypatch.setattr(stages, "HOME", tmp_path)
    return Walk("newcomer", Configuration(parse([]), "", "", tmp_path, {}, True, True))


def test_the_result_is_one_line_of_json_with_every_stage(walk: Walk, capsys: pytest.CaptureFixture[str]) -> None:
    with walk.stage("first"):
        pass
    with walk.stage("second"):
        walk.facts["ssh"] = "ssh analyst@127.1.0.1"
    line = walk.result().line()
    assert "\n" not in line
    found = json.loads(line)
    assert found["demo"] == "ok"
    assert [stage["name"] for stage in found["stages"]] == ["first", "second"]
    assert all(stage["seconds"] >= 0 for stage in found["stages"])
    assert "first" in capsys.readouterr().out


def test_a_failure_names_its_stage_and_shows_the_right_log(walk: Walk, tmp_path: Path) -> None:
    (tmp_path / "worker.log").write_text("\n".join(f"line {number}" for number in range(100)))
    (tmp_path / "web.log").write_text("nothing to do with it")
    with pytest.raises(ScriptError) as failed, walk.stage("build the workspace", "worker", "absent"):
        raise ScriptError("The workspace is failed.", "Look at its page.", "Error: no such image")
    assert failed.value.message == "The demo failed at “build the workspace”: The workspace is failed."
    assert failed.value.hint == "Look at its page."
    assert "Error: no such image" in failed.value.detail
    assert "line 99" in failed.value.detail
    assert "line 10\n" not in failed.value.detail
    assert "nothing to do with it" not in failed.value.detail


def test_a_surprise_is_a_failure_of_its_stage_too(walk: Walk) -> None:
    with pytest.raises(ScriptError, match="at “sign up”: KeyError: 'token'"), walk.stage("sign up"):
        raise KeyError("token")
    assert walk.stages == []


def test_keys_lie_in_a_folder_of_their_own_that_nobody_else_can_open(walk: Walk, tmp_path: Path) -> None:
    assert walk.folder.parent == tmp_path / "demo"
    assert walk.folder.stat().st_mode & 0o077 == 0
