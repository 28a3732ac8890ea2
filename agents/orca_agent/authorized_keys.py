"""The keys that may log in to the instance, in a block of their own; a person's other lines stay."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, List, Sequence

from agents.orca_agent.account import Account

BEGIN: Final = "# BEGIN orca: written by the portal, changes in this block are lost"
END: Final = "# END orca"
ESCAPE: Final = "surrogateescape"


def merge(content: str, keys: Sequence[str]) -> str:
    """``content`` with the block replaced by one that holds the given keys, or added at its end."""
    kept: List[str] = []
    inside = False
    for line in content.splitlines():
        if line.startswith("# BEGIN orca"):
            inside = True
        if not inside:
            kept.append(line)
        if line.startswith(END):
            inside = False
    return "".join(f"{line}\n" for line in (*kept, BEGIN, *keys, END))


def write(home: Path, keys: Sequence[str], account: Account) -> bool:
    """Bring ``~/.ssh/authorized_keys`` up to date; False if it was. Raises ``OSError``.

    The folder belongs to the account, and this may run as root: it follows no symbolic link in there, and
    what it writes to is always a new file.
    """
    folder = home / ".ssh"
    if not folder.exists():
        folder.mkdir(0o700)
        account.own(folder)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        before = _read(directory, account)
        after = merge(before, keys)
        if after == before:
            return False
        partial = ".authorized_keys.orca"
        with suppress(FileNotFoundError):
            os.unlink(partial, dir_fd=directory)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(partial, flags, 0o600, dir_fd=directory), "w", errors=ESCAPE) as file:
            file.write(after)
            if account.uid is not None and account.gid is not None:
                os.fchown(file.fileno(), account.uid, account.gid)
        os.rename(partial, "authorized_keys", src_dir_fd=directory, dst_dir_fd=directory)
        return True
    finally:
        os.close(directory)


def _read(directory: int, account: Account) -> str:
    """What stands there already; nothing if it is not a plain file of the account's own."""
    try:
        descriptor = os.open(
            "authorized_keys", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory
        )
    except OSError:
        return ""
    with os.fdopen(descriptor, errors=ESCAPE) as file:
        status = os.fstat(descriptor)
        own = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and account.owns(status)
        return file.read(1024 * 1024) if own else ""
