"""The command lines that make an instance out of a root folder, and that join a running one."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.local_cloud.instances import surroundings
from agents.local_cloud.instances.engine import SOCKET
from agents.local_cloud.instances.root_folder import USER, USER_DATA, RootFolder

#: What root inside of an instance may do: become ``analyst``, look after its files and its processes. No more.
CAPABILITIES = ("chown", "setuid", "setgid", "kill", "dac_override", "fowner", "sys_resource")

#: Linux: the user namespace that owns another namespace (ioctl_ns(2)).
NS_GET_USERNS = 0xB701

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
    def why_not(self) -> str:
        """Why no instance can boot here; empty if one can. Plain processes are for ordinary users only: as root, an
        instance's user data would change this very machine."""
        if self.bwrap is None and self.as_root:
            return "bubblewrap (bwrap) is not installed; without it, root cannot keep an instance from this machine"
        return ""

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
    if (folder.engine / SOCKET).exists():
        command += ["--bind", str(folder.engine / SOCKET), f"/run/{SOCKET}", "--bind", str(folder.memory), "/run/orca"]
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


@dataclass(frozen=True)
class Standing:
    """A sandbox that runs: its first process, and (where the cloud is not root) its owner's user namespace."""

    init_pid: int = 0
    user_namespace: int | None = None

    @classmethod
    def of(cls, init_pid: int, tools: Tools) -> Standing:
        """Look at the running process. Without root, bwrap puts processes one user namespace deeper than the other
        namespaces, and only from the outer one may these be joined."""
        if tools.as_root or tools.bwrap is None:
            return cls(init_pid)
        descriptor = os.open(f"/proc/{init_pid}/ns/pid", os.O_RDONLY)
        try:
            return cls(init_pid, fcntl.ioctl(descriptor, NS_GET_USERNS))
        finally:
            os.close(descriptor)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What a process that joins has to inherit."""
        return () if self.user_namespace is None else (self.user_namespace,)

    def close(self) -> None:
        """The sandbox has gone."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def join_command(tools: Tools, folder: RootFolder, standing: Standing, command: Sequence[str]) -> list[str]:
    """``command`` as ``analyst``, at home, among the processes and files of the running instance.

    To be started with ``standing.descriptors``.
    """
    if tools.bwrap is None:
        return list(command)
    join = ["nsenter", "--target", str(standing.init_pid), "--mount", "--pid", "--uts", "--ipc"]
    command = ["/bin/sh", "-c", f'cd /home/{USER} || cd /; exec "$@"', "sh", *command]
    if standing.user_namespace is not None:
        outer = [f"--user=/proc/self/fd/{standing.user_namespace}", "--preserve-credentials", "--"]
        inner = ["nsenter", "--target", "1", "--user", "--preserve-credentials", "--"]
        return [*join, *outer, *inner, *command]
    uid = str(folder.place.user_id)
    drop = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs"]
    return [*join, "--", *drop, "--bounding-set=-all", "--inh-caps=-all", "--", *command]


def _is_hidden(path: Path, tools: Tools) -> bool:
    resolved = path.resolve()
    return any(other == resolved or other in resolved.parents or resolved in other.parents for other in tools.hidden)
