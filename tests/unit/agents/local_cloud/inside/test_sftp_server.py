"""The SFTP server that stands in for OpenSSH's, driven by OpenSSH's own client."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agents.local_cloud.instances.sandbox import INSIDE

SERVER = INSIDE / "sftp_server.py"

pytestmark = pytest.mark.skipif(shutil.which("sftp") is None, reason="needs OpenSSH's sftp")


def sftp(home: Path, *commands: str) -> subprocess.CompletedProcess[str]:
    """What the client says about these commands; the server's home is ``home``."""
    return subprocess.run(
        ["sftp", "-q", "-b", "-", "-D", f"{sys.executable} -I -B {SERVER}"],
        input="\n".join(commands) + "\n",
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_files_go_up_and_come_back_whole_with_their_mode_and_time(home: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_001))
    source.chmod(0o640)
    os.utime(source, (1_700_000_000, 1_700_000_000))
    done = sftp(home, f"put -p {source} 'a b.bin'", f"get -p 'a b.bin' {tmp_path}/back")
    assert done.returncode == 0, done.stderr
    assert (home / "a b.bin").read_bytes() == source.read_bytes() == (tmp_path / "back").read_bytes()
    for copy in (home / "a b.bin", tmp_path / "back"):
        assert copy.stat().st_mode & 0o777 == 0o640
        assert int(copy.stat().st_mtime) == 1_700_000_000


def test_folders_are_made_listed_renamed_and_removed(home: Path, tmp_path: Path) -> None:
    (home / "many").mkdir()
    for number in range(250):
        (home / "many" / f"{number:03}").touch()
    done = sftp(home, "mkdir new", "rename new newer", "ls -1 many", "ls -l many/007", "rmdir newer", "pwd", "ls -a")
    assert done.returncode == 0, done.stderr
    assert sum(f"many/{number:03}" in done.stdout for number in range(250)) == 250
    assert "-rw-r--r--" in done.stdout
    assert f"Remote working directory: {home}" in done.stdout
    assert not (home / "newer").exists()


def test_links_and_modes(home: Path) -> None:
    (home / "file").write_text("x")
    done = sftp(home, "symlink file link", "chmod 600 file", "ls -l", "rm link")
    assert done.returncode == 0, done.stderr
    assert (home / "file").stat().st_mode & 0o777 == 0o600
    assert not (home / "link").exists()


def test_what_cannot_be_done_is_said(home: Path) -> None:
    done = sftp(home, "-get missing", "-rmdir missing", "-mkdir /proc/x", "pwd")
    assert done.returncode == 0
    assert "not found" in done.stderr
    assert len(done.stderr.splitlines()) >= 3


def test_junk_does_not_keep_the_server_busy(home: Path) -> None:
    for junk in (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\x09\x63" + b"\0" * 8):
        done = subprocess.run(
            [sys.executable, "-I", "-B", str(SERVER)],
            input=junk,
            env={**os.environ, "HOME": str(home)},
            capture_output=True,
            timeout=10,
            check=False,
        )
        assert b"Traceback" not in done.stderr
