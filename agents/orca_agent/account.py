"""The user that steps run as."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Optional


@dataclass(frozen=True)
class Account:
    """``uid`` None: steps run as the same user as the agent, because it cannot become another."""

    name: str
    uid: Optional[int]
    gid: Optional[int]
    home: Path

    @classmethod
    def find(cls, name: str, home: Path) -> Account:
        """The account ``name`` where there is one and we may become it, else our own with the given home."""
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            entry = None
        if entry is not None and os.geteuid() == 0 and _may_become(entry.pw_uid, entry.pw_gid):
            return cls(name, entry.pw_uid, entry.pw_gid, home)
        return cls(name, None, None, home)

    def ensure_home(self) -> None:
        if not self.home.exists():
            self.home.mkdir(parents=True, mode=0o755)
            self.own(self.home)

    def own(self, path: Path) -> None:
        """Give a file or folder, not what is in it, to this account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def own_tree(self, folder: Path) -> None:
        """Give a folder and all that is in it to this account."""
        if self.uid is not None and self.gid is not None:
            chown_tree(folder, self.uid, self.gid)

    def owns(self, status: os.stat_result) -> bool:
        return self.uid is None or status.st_uid == self.uid


def chown_tree(folder: Path, uid: int, gid: int) -> None:
    """Change the owner of all in a folder, never through a symbolic link."""
    for _, folders, files, descriptor in os.fwalk(folder, follow_symlinks=False):
        for name in folders + files:
            os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
    os.chown(folder, uid, gid, follow_symlinks=False)


def _may_become(uid: int, gid: int) -> bool:
    try:
        subprocess.run(["/bin/true"], user=uid, group=gid, extra_groups=[gid], check=True, timeout=10)
    except (OSError, ValueError, subprocess.SubprocessError):
        return False
    return True
