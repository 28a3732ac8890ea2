"""Another release is used only if it is what was promised, and works here."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from agents.orca_agent import release
from agents.orca_agent.orders import Release
from agents.orca_agent.release import ReleaseError, fetch, remove_others, running_version
from tests.unit.agents.orca_agent.doubles import MemoryBucket

GOOD = b"#!/bin/sh\nexit 0\n"


def archive(*members: tuple[str, bytes, bytes]) -> bytes:
    """Members are name, content and type."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, data, kind in members:
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.type = len(data), 0o755, kind
            member.linkname = "/etc/passwd"
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


def attempt(tmp_path: Path, content: bytes, sha256: str = "") -> Path:
    sha256 = sha256 or hashlib.sha256(content).hexdigest()
    bucket = MemoryBucket({"agents/x": content})
    return fetch(Release(sha256, "agents/x", "platform"), tmp_path / "releases", bucket)


def test_a_good_release_is_unpacked_where_its_sum_says(tmp_path: Path) -> None:
    content = archive(("install", GOOD, tarfile.REGTYPE), ("agents/x.py", b"1", tarfile.REGTYPE))
    folder = attempt(tmp_path, content)
    assert folder == tmp_path / "releases" / hashlib.sha256(content).hexdigest()
    assert (folder / "agents/x.py").read_bytes() == b"1"
    assert sorted(path.name for path in folder.iterdir()) == ["agents", "install"]
    assert running_version(str(folder)) == folder.name


@pytest.mark.parametrize(
    "content",
    [
        b"no archive",
        archive(("install", b"#!/bin/sh\nexit 3\n", tarfile.REGTYPE)),
        archive(("agents/x.py", b"1", tarfile.REGTYPE)),
        archive(("install", GOOD, tarfile.REGTYPE), ("../escaped", b"", tarfile.REGTYPE)),
        archive(("install", GOOD, tarfile.REGTYPE), ("/tmp/orca-escaped", b"", tarfile.REGTYPE)),
        archive(("install", GOOD, tarfile.REGTYPE), ("link", b"", tarfile.SYMTYPE)),
        archive(("install", GOOD, tarfile.REGTYPE), ("link", b"", tarfile.LNKTYPE)),
    ],
    ids=["garbage", "does not start", "no install", "up", "absolute", "symlink", "hard link"],
)
def test_a_release_that_is_no_good_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ReleaseError):
        attempt(tmp_path, content)
    assert not list(tmp_path.rglob("escaped"))
    assert not list(tmp_path.rglob("*.part"))


def test_a_release_with_another_sum_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="checksum"):
        attempt(tmp_path, archive(("install", GOOD, tarfile.REGTYPE)), sha256="ab" * 32)
    assert list((tmp_path / "releases").iterdir()) == []


def test_a_source_tree_is_no_release() -> None:
    assert running_version() == release.DEVELOPMENT


def test_old_releases_are_removed(tmp_path: Path) -> None:
    for name in ("ab" * 32, "cd" * 32, "current"):
        (tmp_path / name).mkdir()
    remove_others(tmp_path, "ab" * 32)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ab" * 32, "current"]
