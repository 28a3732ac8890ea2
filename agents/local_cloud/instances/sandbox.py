"""The command lines that make an instance out of a root folder, and that join a running one."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.local_cloud.instances import surroundings
from agents.local_cloud.instances.root_folder import USER, USER_DATA, RootFolder

#: What root inside of an instance may do: become ``analyst``, look after its files and its processes. No more.
CAPABILITIES = ("chown", "setuid", "setgid", "kill", "dac_override", "fowner", "sys_resource")

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INSIDE = Path(__file__).resolve().parent.parent / "inside"
INSIDE_AT = "/run/orca-local"
REPOSITORY = INSIDE.parents[2]


@dataclass(frozen=True)
class Tools:
    """What this machine offers to make sandboxes of. Without ``bwrap``, instances are plain processes."""

    bwrap: str | None
    as_root: bool
    python: str
    data: Path

    @classmethod
    def find(cls, data: Path) -> Tools:
        """Look around."""
        python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
        return cls(shutil.which("bwrap"), os.geteuid() == 0, python, data)

    @property
    def hidden(self) -> list[Path]:
        """What no instance may see, wherever it lies."""
        return [REPOSITORY, self.data.resolve()]

    def python_home(self) -> list[Path]:
        """Folders to show so that ``python`` runs, when it is not the system's own."""
        return [] if self.python.startswith("/usr/bin/") else [Path(sys.base_prefix).resolve()]


@dataclass(frozen=True)
class Reports:
    """Descriptors on which a booting sandbox says that it stands, and which process is its first."""

    ready: int
    info: int


def boot_command(
    tools: Tools, folder: RootFolder, environment: Mapping[str, str], grace: float, reports: Reports
) -> list[str]:
    """The command that runs the instance until it goes down."""
    init = [tools.python, "-I", "-B", f"{INSIDE_AT}/init.py", f"/{USER_DATA}", str(grace)]
    environment = {**environment, "ORCA_READY_FD": str(reports.ready)}
    if tools.bwrap is None:
        script = folder.root / USER_DATA
        return [tools.python, "-I", "-B", str(INSIDE / "init.py"), str(script), str(grace)]
    shown = surroundings.read_only(tools.hidden) + tools.python_home()
    named = surroundings.named_paths(environment, surroundings.pip_settings(), shown)
    command = [tools.bwrap, "--bind", str(folder.root), "/"]
    for path in [*shown, *(path for path in named if not _is_hidden(path, tools))]:
        command += ["--ro-bind", str(path), str(path)]
    for path in surroundings.covered(tools.hidden):
        command += ["--tmpfs", str(path)]
    command += ["--ro-bind", str(INSIDE / "sbin"), "/usr/local/sbin"]
    command += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"]
    command += ["--ro-bind-try", "/proc/sysrq-trigger", "/proc/sysrq-trigger"]
    command += ["--dev", "/dev", "--bind", str(folder.temporary), "/tmp", "--tmpfs", "/run"]  # noqa: S108
    command += ["--ro-bind", str(INSIDE), INSIDE_AT]
    command += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", folder.place.hostname]
    command += ["--die-with-parent", "--as-pid-1", "--info-fd", str(reports.info), "--clearenv"]
    if not tools.as_root:
        uid = str(folder.place.user_id)
        command += ["--unshare-user", "--uid", uid, "--gid", uid]
    for name, value in environment.items():
        command += ["--setenv", name, value]
    if tools.as_root:
        bounding = "-all," + ",".join(f"+{name}" for name in CAPABILITIES)
        init = ["setpriv", f"--bounding-set={bounding}", "--inh-caps=-all", "--", *init]
    return [*command, "--", *init]


def join_command(tools: Tools, folder: RootFolder, init_pid: int, command: Sequence[str]) -> list[str]:
    """``command`` as ``analyst``, at home, among the processes and files of the running instance."""
    if tools.bwrap is None:
        return list(command)
    join = ["nsenter", "--target", str(init_pid), "--mount", "--pid", "--uts", "--ipc"]
    command = ["/bin/sh", "-c", f'cd /home/{USER} || cd /; exec "$@"', "sh", *command]
    if not tools.as_root:
        return [*join, "--user", "--preserve-credentials", "--", *command]
    uid = str(folder.place.user_id)
    drop = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs"]
    return [*join, "--", *drop, "--bounding-set=-all", "--inh-caps=-all", "--", *command]


def _is_hidden(path: Path, tools: Tools) -> bool:
    resolved = path.resolve()
    return any(other == resolved or other in resolved.parents or resolved in other.parents for other in tools.hidden)
