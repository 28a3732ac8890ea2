"""What a step leaves is stored: all of it, nothing else, and not more than it may."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.orca_agent.account import Account
from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.events import MAX_OUTPUTS
from agents.orca_agent.steps.outputs import Uploaded, content_type, upload
from tests.unit.agents.orca_agent.doubles import MemoryBucket

OWN = Account("me", None, None, Path("/"))


def store(folder: Path, bucket: MemoryBucket, limit_mb: int = 10, account: Account = OWN) -> tuple[Uploaded, list[str]]:
    said: list[str] = []
    done = upload(folder, "p/", bucket, account, limit_mb=limit_mb, say=said.append)
    return done, said


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_files_are_stored_with_size_and_type(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/map.tif").write_bytes(b"123")
    (tmp_path / "page.html").write_text("<p>")
    bucket, before = MemoryBucket(), open_files()
    done, said = store(tmp_path, bucket)
    assert bucket.objects == {"p/a/b/map.tif": b"123", "p/page.html": b"<p>"}
    assert bucket.types == {"p/a/b/map.tif": "image/tiff", "p/page.html": "text/html"}
    assert [(o.path, o.size, o.content_type) for o in done.outputs] == [
        ("a/b/map.tif", 3, "image/tiff"),
        ("page.html", 3, "text/html"),
    ]
    assert (said, done.listed_all, done.over_limit) == ([], True, 0)
    assert open_files() == before


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x.csv", "text/csv"),
        ("x.CSV", "text/csv"),
        ("x.json.gz", "application/octet-stream"),
        ("x.parquet", "application/vnd.apache.parquet"),
        ("x", "application/octet-stream"),
    ],
)
def test_types_follow_the_name(name: str, kind: str) -> None:
    assert content_type(name) == kind


def test_links_and_special_files_are_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "folder").symlink_to("/etc")
    os.mkfifo(tmp_path / "fifo")
    bucket, before = MemoryBucket(), open_files()
    done, said = store(tmp_path, bucket)
    assert (bucket.objects, done.outputs, done.skipped) == ({}, (), 3)
    assert len(said) == 3
    assert open_files() == before


def test_files_of_another_user_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    bucket = MemoryBucket()
    done, _ = store(tmp_path, bucket, account=Account("someone", os.getuid() + 1, 1, Path("/")))
    assert (bucket.objects, done.skipped) == ({}, 1)


def test_a_missing_or_linked_folder_stores_nothing(tmp_path: Path) -> None:
    bucket = MemoryBucket()
    assert store(tmp_path / "missing", bucket)[0] == Uploaded()
    (tmp_path / "real").mkdir()
    (tmp_path / "real/f").write_text("x")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    assert store(tmp_path / "linked", bucket)[0] == Uploaded()


def test_what_fits_is_stored_when_there_is_too_much(tmp_path: Path) -> None:
    for name, size in (("a", 600_000), ("b", 600_000), ("c", 100)):
        (tmp_path / name).write_bytes(b"x" * size)
    bucket = MemoryBucket()
    done, _ = store(tmp_path, bucket, limit_mb=1)
    assert set(bucket.objects) == {"p/a", "p/c"}
    assert done.over_limit == 1


def test_a_list_that_an_event_cannot_hold_is_cut(tmp_path: Path) -> None:
    for number in range(MAX_OUTPUTS + 5):
        (tmp_path / f"{number:05d}").touch()
    bucket = MemoryBucket()
    done, _ = store(tmp_path, bucket)
    assert len(bucket.objects) == MAX_OUTPUTS + 5
    assert 0 < len(done.outputs) <= MAX_OUTPUTS
    assert not done.listed_all


def test_a_failing_bucket_is_told_and_leaves_no_open_file(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).touch()
    before = open_files()
    with pytest.raises(CloudError):
        store(tmp_path, MemoryBucket(fail={"p/"}))
    assert open_files() == before


def test_a_key_that_is_too_long_is_left_out(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(5):
        deep = deep / ("d" * 250)
    deep.mkdir(parents=True)
    (deep / "f").touch()
    done, said = store(tmp_path, MemoryBucket())
    assert (done.files, len(said)) == (0, 1)
