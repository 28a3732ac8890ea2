"""Bundles are fetched once, checked, and never unpacked to where they should not be."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.orca_agent.steps import bundle
from agents.orca_agent.steps.bundle import BundleStore, safe_name, unpack, with_unix_lines
from agents.orca_agent.steps.failure import StepFailed
from tests.unit.agents.orca_agent.doubles import MemoryBucket, packed, script_in


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket()


def test_a_bundle_is_fetched_once(tmp_path: Path, bucket: MemoryBucket) -> None:
    script = script_in(bucket, {"main.py": "1"})
    store = BundleStore(tmp_path, bucket)
    assert store.fetch(script) == store.fetch(script)
    assert bucket.reads == 1


def test_a_bundle_that_differs_is_refused_and_not_kept(tmp_path: Path, bucket: MemoryBucket) -> None:
    script = script_in(bucket, {"main.py": "1"})
    bucket.objects[script.key] = packed({"main.py": "2"})
    with pytest.raises(StepFailed) as caught:
        BundleStore(tmp_path, bucket).fetch(script)
    assert caught.value.reason == "bundle_invalid"
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_bundles_make_room(tmp_path: Path, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MAX_CACHED", 300)
    store = BundleStore(tmp_path, bucket)
    paths = []
    for number in range(4):
        paths.append(store.fetch(script_in(bucket, {"main.py": str(number)})))
        os.utime(paths[-1], (number, number))
    assert [path.exists() for path in paths] == [False, False, True, True]


def unpacked(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "b.zip").write_bytes(content)
    folder = tmp_path / "into"
    folder.mkdir()
    unpack(tmp_path / "b.zip", folder)
    return folder


def test_files_come_out_with_their_modes(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("bin/tool")
    entry.external_attr = 0o100755 << 16
    content = tmp_path / "made.zip"
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(entry, "#!")
        archive.writestr("größe.txt", "x")
        archive.writestr("empty/", "")
    folder = unpacked(tmp_path, content.read_bytes())
    assert (folder / "bin/tool").stat().st_mode & 0o777 == 0o755
    assert (folder / "größe.txt").stat().st_mode & 0o777 == 0o644
    assert (folder / "empty").is_dir()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names",
    [["../x"], ["/x"], ["a/../../x"], ["..\\x"], ["C:/x"], ["."], ["x", "x"], ["x", "x/y"]],
    ids=str,
)
def test_names_that_have_no_business_in_a_bundle_are_refused(tmp_path: Path, names: list[str]) -> None:
    content = tmp_path / "made.zip"
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    with pytest.raises(StepFailed) as caught:
        unpacked(tmp_path, content.read_bytes())
    assert caught.value.reason == "bundle_invalid"
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("kind", [0o120777, 0o020666, 0o010666, 0o140666], ids=["link", "device", "fifo", "socket"])
def test_special_files_are_refused(kind: int) -> None:
    entry = zipfile.ZipInfo("x")
    entry.external_attr = kind << 16
    with pytest.raises(ValueError, match="special"):
        safe_name(entry)


def test_a_bomb_is_noticed_while_it_unpacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MAX_UNPACKED", 1_000_000)
    content = tmp_path / "made.zip"
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", b"\0" * 5_000_000)
    with pytest.raises(StepFailed):
        unpacked(tmp_path, content.read_bytes())
    assert (tmp_path / "into/x").stat().st_size <= 1_000_000


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MAX_FILES", 3)
    with pytest.raises(StepFailed):
        unpacked(tmp_path, packed({str(number): "" for number in range(4)}))


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a_damaged_bundle_is_refused_or_harmless(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(packed({"main.py": "print(1)\n" * 20, "data/x.csv": "1,2\n"}))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    tmp_path = tmp_path_factory.mktemp("zip")
    try:
        unpacked(tmp_path, bytes(content))
    except StepFailed as failure:
        assert failure.reason == "bundle_invalid"
    assert {path.name for path in tmp_path.iterdir()} == {"b.zip", "into"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"#!/bin/sh\r\necho\r\n", b"#!/bin/sh\necho\n"),
        (b"\xef\xbb\xbfecho\n", b"echo\n"),
        (b"printf 'a\rb'\n", b"printf 'a\rb'\n"),
    ],
)
def test_windows_lines_become_unix_lines(tmp_path: Path, before: bytes, after: bytes) -> None:
    (tmp_path / "s").write_bytes(before)
    with_unix_lines(tmp_path / "s")
    assert (tmp_path / "s").read_bytes() == after
