"""The root file system of an instance: a folder that persists, as an EBS volume does."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from agents.local_cloud.access.administrators import write_private
from agents.local_cloud.instances import confined, surroundings
from agents.local_cloud.instances.addresses import Place

FOLDERS = {
    "dev": 0o755,
    "etc": 0o755,
    "etc/orca": 0o700,
    "etc/profile.d": 0o755,
    "etc/ssh": 0o755,
    "etc/ssl": 0o755,
    "home": 0o755,
    "mnt": 0o755,
    "opt": 0o755,
    "opt/orca-agent": 0o755,
    "proc": 0o555,
    "root": 0o700,
    "run": 0o755,
    "srv": 0o755,
    "tmp": 0o777,
    "usr": 0o755,
    "var": 0o755,
    "var/cache": 0o755,
    "var/lib": 0o755,
    "var/log": 0o755,
    "var/tmp": 0o1777,
}

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
USER = "analyst"
USER_DATA = "var/lib/cloud/instance/user-data"


@dataclass(frozen=True)
class RootFolder:
    """The parts of one instance on disk, below ``DATA/instances/<id>``."""

    base: Path
    place: Place
    as_root: bool

    @property
    def root(self) -> Path:
        """What the instance sees as ``/``."""
        return self.base / "root"

    @property
    def temporary(self) -> Path:
        """What the instance sees as ``/tmp``: empty after each boot."""
        return self.base / "tmp"

    @property
    def console(self) -> Path:
        """Everything that the instance wrote to its console."""
        return self.base / "console.log"

    @property
    def home(self) -> Path:
        """The home of ``analyst``, on this machine's side."""
        return self.root / "home" / USER

    @property
    def engine(self) -> Path:
        """Where the instance's view of this machine's Docker engine listens."""
        return self.base / "engine"

    @property
    def memory(self) -> Path:
        """What the instance sees as ``/run/orca``, where its containers may have to see it: no disk, where possible."""
        return (SHARED_MEMORY if SHARED_MEMORY.is_dir() else self.base) / f"orca-{self.base.name}"

    @property
    def container_folders(self) -> dict[str, Path]:
        """What of the instance its containers may see, and where that lies on this machine."""
        return {"/var/lib/orca/work": self.root / "var/lib/orca/work", "/run/orca": self.memory}

    @property
    def host_key(self) -> Path:
        """The private SSH host key; its public half is inside of the instance too."""
        return self.base / "ssh_host_ed25519_key"

    def prepare(self, user_data: bytes, environment: Mapping[str, str]) -> None:
        """Make what is missing, write what the cloud owns (names, certificates, user data), empty ``/tmp``.

        To be called while the instance is down. Its own root may have put links anywhere: none is followed.
        """
        for name, mode in FOLDERS.items():
            confined.ensure_folder(self.root, name, mode)
        for name, target in surroundings.links().items():
            confined.ensure_link(self.root, name.lstrip("/"), target)
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir(parents=True)
        self.temporary.chmod(0o1777)
        self._ensure_home()
        for name, content in self._files(environment).items():
            confined.write(self.root, name, content)
        confined.write(self.root, USER_DATA, user_data, 0o700)

    def _ensure_home(self) -> None:
        home = f"home/{USER}"
        if not confined.ensure_folder(self.root, home, 0o700):
            return
        files = {
            f"{home}/.profile": b'[ -n "$BASH" ] && [ -r ~/.bashrc ] && . ~/.bashrc\n',
            f"{home}/.bashrc": b"case $- in *i*) PS1='\\u@\\h:\\w\\$ ' ;; esac\n",
        }
        for name, content in files.items():
            confined.write(self.root, name, content)
        if self.as_root:
            for name in (home, *files):
                os.chown(self.root / name, self.place.user_id, self.place.user_id, follow_symlinks=False)

    def _files(self, environment: Mapping[str, str]) -> dict[str, bytes]:
        copies = {f"etc/{name}": Path("/etc") / name for name in surroundings.ETC_FILES}
        uid = self.place.user_id
        shell = "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh"
        exports = "".join(
            f"export {name}={shlex.quote(value)}\n" for name, value in sorted(environment.items()) if name != "HOME"
        )
        texts = {
            "etc/passwd": f"root:x:0:0:root:/root:{shell}\n{USER}:x:{uid}:{uid}:{USER}:/home/{USER}:{shell}\n"
            "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
            "etc/group": f"root:x:0:\n{USER}:x:{uid}:\nnogroup:x:65534:\n",
            "etc/hostname": self.place.hostname + "\n",
            "etc/hosts": f"127.0.0.1 localhost\n{self.place.address} {self.place.hostname}\n",
            "etc/profile": 'for f in /etc/profile.d/*.sh; do [ -r "$f" ] && . "$f"; done; unset f\n',
            "etc/profile.d/orca.sh": exports,
            "etc/pip.conf": surroundings.pip_settings(),
            "etc/ssh/ssh_host_ed25519_key.pub": self._public_host_key(),
        }
        found = {name: source.read_bytes() for name, source in copies.items() if source.is_file()}
        return found | {name: text.encode() for name, text in texts.items()}

    def _public_host_key(self) -> str:
        if not self.host_key.exists():
            key = asyncssh.generate_private_key("ssh-ed25519", comment=self.place.hostname)
            write_private(self.host_key, key.export_private_key().decode())
        return asyncssh.read_private_key(self.host_key).export_public_key().decode()

    def forget(self) -> None:
        """Drop what lies in memory: the instance is down."""
        shutil.rmtree(self.memory, ignore_errors=True)

    def authorized_keys(self) -> str:
        """The keys that may log in now; empty if there are none."""
        return confined.read(self.root, f"home/{USER}/.ssh/authorized_keys").decode(errors="replace")

    def destroy(self) -> None:
        """Remove everything but the console, which EC2 shows for a while after termination."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.forget()
        self.host_key.unlink(missing_ok=True)
