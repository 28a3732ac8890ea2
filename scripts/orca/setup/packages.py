"""Packages of the system that Orca runs on, installed with apt-get where that is possible."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.orca.console import ScriptError, say, step

_LISTS = Path("/var/lib/apt/lists")
_LISTS_OLD_AFTER = 7 * 86_400
_POLICY = Path("/usr/sbin/policy-rc.d")


@dataclass(frozen=True)
class Package:
    """A Debian package, how to see that what it brings is there, and what is lost without it."""

    name: str
    present: Callable[[], bool]
    without: str
    optional: bool = False


def _program(*names: str) -> Callable[[], bool]:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return lambda: any(shutil.which(name, path=path) for name in names)


def _client_library() -> bool:
    if not shutil.which("pkg-config"):
        return False
    names = ("mysqlclient", "libmariadb", "mariadb")
    return any(subprocess.run(["pkg-config", "--exists", name], check=False).returncode == 0 for name in names)


def _font() -> bool:
    folders = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".fonts")
    return any(next(folder.rglob("*.[to]tf"), None) is not None for folder in folders if folder.is_dir())


BUILD = (
    Package(
        "python3-venv",
        lambda: bool(importlib.util.find_spec("ensurepip")),
        "no virtual environment can be made",
    ),
    Package(
        "python3-dev",
        (Path(sysconfig.get_path("include")) / "Python.h").is_file,
        "mysqlclient cannot be built",
    ),
    Package("gcc", _program("gcc", "cc"), "mysqlclient cannot be built"),
    Package("pkg-config", _program("pkg-config"), "mysqlclient cannot be built"),
    Package("default-libmysqlclient-dev", _client_library, "mysqlclient cannot be built"),
)
RUN = (
    Package("curl", _program("curl"), "local instances cannot fetch their agent"),
    Package("openssh-client", _program("ssh-keygen"), "no SSH keys can be made or checked"),
    Package(
        "redis-server",
        _program("redis-server"),
        "background work goes through a file, which is slower",
        optional=True,
    ),
    Package("bubblewrap", _program("bwrap"), "local instances run without a sandbox", optional=True),
)
IMAGES = (Package("mmdebstrap", _program("mmdebstrap"), "base images for containers cannot be made"),)
ENGINE = (
    Package("docker.io", _program("dockerd"), "the tests cannot run containers"),
    Package("iproute2", _program("ip"), "the tests' containers have no network"),
    *IMAGES,
)
TEST = (
    Package("mariadb-server", _program("mariadbd", "mysqld"), "the tests cannot run on MariaDB"),
    Package("chromium", _program("chromium", "chromium-browser", "google-chrome"), "the pages cannot be tested"),
    *ENGINE,
    Package(
        "docker-registry",
        _program("docker-registry"),
        "the tests push no images to a registry, and skip what needs one",
        optional=True,
    ),
    Package("fonts-dejavu-core", _font, "screenshots show boxes for letters", optional=True),
)


def packages_ensure(packages: tuple[Package, ...]) -> None:
    """Installs what is missing; raises ``ScriptError`` where that fails and Orca cannot do without."""
    missing = [package for package in packages if not package.present()]
    if not missing:
        return
    names = [package.name for package in missing]
    prefix = _root_prefix()
    if prefix is not None and shutil.which("apt-get"):
        with step(f"System packages ({', '.join(names)})"):
            failure = _install(names, prefix)
        missing = [package for package in missing if not package.present()]
    else:
        failure = "This user may not install packages." if shutil.which("apt-get") else "There is no apt-get here."
    for package in missing:
        if package.optional:
            say(f"  Without {package.name} {package.without}. To have it: sudo apt-get install {package.name}")
    needed = [package for package in missing if not package.optional]
    if needed:
        raise ScriptError(
            "Missing on this machine: " + "; ".join(f"{package.name} ({package.without})" for package in needed) + ".",
            "Install with: sudo apt-get install " + " ".join(package.name for package in needed),
            failure,
        )


def _root_prefix() -> list[str] | None:
    """What makes a command run as root without asking; ``None`` where nothing does."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo, "-n"]
    return None


def _lists_are_old() -> bool:
    stamps = [entry.stat().st_mtime for entry in _LISTS.glob("*_InRelease")] if _LISTS.is_dir() else []
    return not stamps or time.time() - max(stamps) > _LISTS_OLD_AFTER


def _install(names: list[str], prefix: list[str]) -> str:
    """Runs apt-get; returns the end of its output when it failed, else nothing."""
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"]
    apt += ["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]
    install = [*apt, "install", "--no-install-recommends", *names]
    with _services_held_back(prefix):
        if _lists_are_old():
            _run([*apt, "update"])
            failure = _run(install)
        elif failure := _run(install):
            # The lists may name versions that the archive no longer holds.
            _run([*apt, "update"])
            failure = _run(install)
    _keep_from_booting(names, prefix)
    return failure


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else "\n".join(done.stdout.splitlines()[-15:])


@contextmanager
def _services_held_back(prefix: list[str]) -> Iterator[None]:
    """Keeps apt from starting the servers it installs: Orca starts private ones of its own."""
    ours = not _POLICY.exists()
    if ours:
        subprocess.run(
            [*prefix, "tee", str(_POLICY)],
            input=b"#!/bin/sh\nexit 101\n",
            stdout=subprocess.DEVNULL,
            check=True,
        )
        subprocess.run([*prefix, "chmod", "755", str(_POLICY)], check=True)
    try:
        yield
    finally:
        if ours:
            subprocess.run([*prefix, "rm", "-f", str(_POLICY)], check=False)


def _keep_from_booting(names: list[str], prefix: list[str]) -> None:
    """What we had installed must not start with the machine either."""
    units = {
        "redis-server": ["redis-server.service"],
        "mariadb-server": ["mariadb.service"],
        "docker-registry": ["docker-registry.service"],
        "docker.io": ["docker.service", "docker.socket", "containerd.service"],
    }
    found = [unit for name in names for unit in units.get(name, [])]
    if found and Path("/run/systemd/system").is_dir():
        subprocess.run([*prefix, "systemctl", "disable", "--quiet", *found], capture_output=True, check=False)
