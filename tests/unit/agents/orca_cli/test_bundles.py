"""What of a folder is a script, and what tools have left beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.orca_cli import bundles
from agents.orca_cli.bundles import bundle_of
from agents.orca_cli.errors import CliError


def made(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    return folder


def where(folder: Path) -> list[str]:
    return [path for _, path in bundle_of(folder).files]


def test_a_file_is_a_script_of_its_name(tmp_path: Path) -> None:
    made(tmp_path, "report.py")
    found = bundle_of(tmp_path / "report.py")
    assert (found.name, [path for _, path in found.files], found.bytes) == ("report", ["report.py"], 9)


def test_a_folder_is_all_that_belongs_to_it(tmp_path: Path) -> None:
    folder = made(
        tmp_path / "etl",
        *("main.py", "lib/a.py", "lib/deep/b.py", ".env.example"),
        *(".git/config", "lib/__pycache__/a.pyc", ".venv/bin/python", "node_modules/x/y.js", "lib/c.pyc"),
    )
    assert bundle_of(folder).name == "etl"
    assert where(folder) == [".env.example", "lib/a.py", "lib/deep/b.py", "main.py"]


def test_more_can_be_left_out(tmp_path: Path) -> None:
    folder = made(tmp_path / "etl", "main.py", "data/big.csv", "notes.md", "lib/notes.md", "lib/keep.csv")
    (folder / ".orcaignore").write_text("# not for the cloud\ndata/\nlib/*.md\n")
    assert where(folder) == ["lib/keep.csv", "main.py", "notes.md"]


def test_a_link_to_a_file_is_followed_and_one_to_a_folder_is_not(tmp_path: Path) -> None:
    made(tmp_path, "shared.py", "folder/x.py")
    folder = made(tmp_path / "etl", "main.py")
    (folder / "shared.py").symlink_to(tmp_path / "shared.py")
    (folder / "around").symlink_to(tmp_path)
    assert where(folder) == ["main.py", "shared.py"]


def test_what_cannot_be_a_script_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CliError, match="no file or folder"):
        bundle_of(tmp_path / "nothing")
    with pytest.raises(CliError, match="no files in"):
        bundle_of(made(tmp_path / "empty", ".git/config"))
    monkeypatch.setattr(bundles, "MOST_FILES", 2)
    with pytest.raises(CliError, match="has 3 files"):
        bundle_of(made(tmp_path / "many", "a", "b", "c"))
