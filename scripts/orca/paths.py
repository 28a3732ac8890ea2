"""Where things lie."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(os.environ.get("ORCA_HOME") or ROOT / "var").resolve()
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOGS = HOME / "log"
RUN = HOME / "run"
ENV_FILE = Path(os.environ.get("ORCA_ENV_FILE") or HOME / "orca.env")

# The kernel takes 107 characters for a socket's path; supervisor appends its pid to the name for a moment.
_SOCKET_PATH_LIMIT = 90


def private_folder(path: Path) -> Path:
    """Makes ``path``, open to nobody else."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def socket_folder() -> Path:
    """A private folder whose path is short enough for Unix sockets."""
    if len(str(RUN / "supervisor.sock")) <= _SOCKET_PATH_LIMIT:
        return private_folder(RUN)
    name = hashlib.sha256(str(HOME).encode()).hexdigest()[:12]
    folder = private_folder(Path(tempfile.gettempdir()) / f"orca-{os.getuid()}-{name}")
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        raise PermissionError(f"{folder} is not a private folder of this user.")
    return folder
