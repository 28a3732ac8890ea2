"""``scripts/images``: Orca's base images, made of this machine's Debian packages, for an engine that has no registry.

``orca/python`` holds Python with Pillow and NumPy, ``orca/shell`` a shell. An image's tag names how it was made; the
same packages give the same image, whenever and wherever it is made.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from agents.orca_agent.steps.engine import Engine
from scripts.orca.console import ScriptError, complain, say, step
from scripts.orca.engine import engine_find

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orca" / "images"
_RECIPE = 1  # goes up when what is below makes something else of the same packages
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")
_EPOCH = "1970-01-01T00:00:00Z"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Base:
    """An image and the packages in it."""

    name: str
    packages: tuple[str, ...]

    @property
    def key(self) -> str:
        """Says how it is made, and nothing about when."""
        parts = (str(_RECIPE), _suite(), _architecture(), *self.packages)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    @property
    def tag(self) -> str:
        return f"{self.name}:{self.key}"


BASES = (
    Base("orca/python", ("python3", "python3-pil", "python3-numpy")),
    Base("orca/shell", ()),
)


def images_ensure(engine: Engine, bases: tuple[Base, ...] = BASES) -> None:
    """Puts the images that are missing into the engine; makes those that this machine has never made."""
    engine.answers()
    for base in bases:
        if engine.image(base.tag) is None:
            archive = _archive(base)
            with step(f"Image {base.name}"), archive.open("rb") as file:
                size = {"Content-Length": str(archive.stat().st_size)}
                with engine.stream("POST", "/images/load", {"quiet": True}, file, timeout=600, headers=size) as answer:
                    answer.read()
        engine.call("POST", f"/images/{base.tag}/tag", {"repo": base.name, "tag": "latest"})


def _archive(base: Base) -> Path:
    """The image as a file that an engine can load; made once and kept."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    archive = _CACHE / f"{base.name.replace('/', '-')}-{base.key}.tar"
    with _alone(archive.with_suffix(".lock")):
        if not archive.exists():
            with step(f"Debian packages for {base.name} (minutes, once)"), tempfile.TemporaryDirectory() as name:
                layer = Path(name) / "layer.tar"
                _bootstrap(base, layer)
                partial = archive.with_suffix(".part")
                _pack(base, layer, partial)
                partial.rename(archive)
    return archive


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _bootstrap(base: Base, layer: Path) -> None:
    command = ["mmdebstrap", "--quiet", "--variant=minbase", '--aptopt=APT::Install-Recommends "false"']
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    command += [f"--include={','.join(base.packages)}"] if base.packages else []
    command += [f"--aptopt={option}" for option in _proxies()]
    try:
        done = subprocess.run(
            [*command, _suite(), str(layer), *_sources()],
            env={**os.environ, "SOURCE_DATE_EPOCH": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise ScriptError("There is no mmdebstrap here.", "sudo apt-get install mmdebstrap") from error
    if done.returncode != 0:
        raise ScriptError(f"{base.name} could not be made.", detail="\n".join(done.stderr.splitlines()[-15:]))


def _pack(base: Base, layer: Path, archive: Path) -> None:
    """The archive in Docker's own form, with nothing in it that would differ the next time."""
    digest = hashlib.sha256()
    with layer.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    configuration = {
        "architecture": _architecture(),
        "os": "linux",
        "created": _EPOCH,
        "config": {"Env": [f"PATH={_PATH}", "LANG=C.UTF-8"], "Cmd": ["/bin/sh"], "Labels": {"orca.base": base.tag}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest.hexdigest()}"]},
        "history": [{"created": _EPOCH, "created_by": f"scripts/images {base.name}"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": [base.tag], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        for name, value in (("config.json", configuration), ("manifest.json", manifest)):
            content = json.dumps(value, sort_keys=True).encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, BytesIO(content))
        tar.add(layer, "layer.tar")


def _architecture() -> str:
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def _suite() -> str:
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "stable")


def _sources() -> list[str]:
    """This machine's own sources of that suite, those of other makers left out; none: mmdebstrap's own."""
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.*"))]
    found = [path for path in places if path.suffix in (".list", ".sources") and path.is_file()]
    return [str(path) for path in found if _suite() in (text := path.read_text()) and "debian.org" in text]


def _proxies() -> list[str]:
    done = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if line.startswith(("Acquire::http::Proxy", "Acquire::https::"))]


def main() -> int:
    try:
        path = engine_find()
        if not path:
            raise ScriptError(
                "No Docker engine answers on this machine.", "Start one, or name its socket in ORCA_DOCKER_HOST."
            )
        images_ensure(Engine(path))
    except KeyboardInterrupt:
        return 130
    except ScriptError as error:
        complain(error)
        return 1
    for base in BASES:
        say(f"{base.name} is {base.tag}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
