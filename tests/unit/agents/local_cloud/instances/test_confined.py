"""Nothing that lies in an instance's root folder leads out of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.local_cloud.instances import confined


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("untouched")
    return tmp_path / "root"


def test_folders_and_files_are_made_and_made_again(root: Path) -> None:
    assert confined.ensure_folder(root, "a/b", 0o700) is True
    assert confined.ensure_folder(root, "a/b", 0o700) is False
    for content in (b"one", b"two"):
        confined.write(root, "a/b/c", content, 0o640)
        assert confined.read(root, "a/b/c") == content
    assert (root / "a/b/c").stat().st_mode & 0o777 == 0o640


def test_a_link_in_the_place_of_a_file_or_folder_is_replaced_not_followed(root: Path) -> None:
    outside = root.parent / "outside"
    root.mkdir()
    (root / "etc").symlink_to(outside)
    confined.write(root, "etc/file", b"new")
    assert (outside / "file").read_text() == "untouched"
    assert (root / "etc/file").read_text() == "new"
    (root / "etc/file").unlink()
    (root / "etc/file").symlink_to(outside / "file")
    confined.write(root, "etc/file", b"newer")
    assert (outside / "file").read_text() == "untouched"
    assert (root / "etc/file").read_text() == "newer"


def test_reading_stops_at_a_link_and_at_what_is_no_file(root: Path) -> None:
    outside = root.parent / "outside"
    confined.ensure_folder(root, "home", 0o755)
    (root / "home/link").symlink_to(outside / "file")
    (root / "home/folder").symlink_to(outside)
    os.mkfifo(root / "home/fifo")
    for name in ("home/link", "home/folder/file", "home/fifo", "home", "missing/file"):
        assert confined.read(root, name) == b""


def test_a_folder_in_the_place_of_a_file_or_link_gives_way(root: Path) -> None:
    confined.ensure_folder(root, "etc/passwd/x", 0o755)
    confined.write(root, "etc/passwd", b"root")
    assert confined.read(root, "etc/passwd") == b"root"
    confined.ensure_folder(root, "bin/x", 0o755)
    confined.ensure_link(root, "bin", "usr/bin")
    confined.ensure_link(root, "bin", "usr/bin")
    assert str((root / "bin").readlink()) == "usr/bin"
