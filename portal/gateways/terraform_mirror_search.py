"""Looks for Terraform's AWS provider on this machine, where operators and distributions put such things.

A mirror is a folder that holds ``registry.terraform.io/hashicorp/aws``, with the provider either unpacked
(``5.1.0/linux_amd64/terraform-provider-aws_v5.1.0_x5``) or packed (``terraform-provider-aws_5.1.0_linux_amd64.zip``).
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

HOST = "registry.terraform.io"
PROVIDER = "hashicorp/aws"
CONSTRAINT = ">= 5.60.0, < 6.0.0"
_LEAST, _BELOW = (5, 60, 0), (6, 0, 0)

PREFIXES = ("/opt", "/usr/local/share", "/usr/share", "~")
_DEPTH = 5
_FOLDERS = 20_000
_SECONDS = 5.0
_NOT_INTO = {
    ".git",
    ".venv",
    "node_modules",
    "site-packages",
    "__pycache__",
    "doc",
    "man",
    "locale",
    "icons",
    "zoneinfo",
}

Version = tuple[int, ...]


@dataclass(frozen=True)
class Package:
    """A provider in a mirror: the mirror's folder, and the package's own folder or, if ``packed``, its zip file."""

    mirror: Path
    version: str
    path: Path
    packed: bool


def packages_in(mirror: Path, platform: str) -> list[Package]:
    """The providers in ``mirror`` that this machine (``platform``, like ``linux_amd64``) and Orca can use, best first.

    An unpacked one comes before a packed one of the same version.
    """
    home = mirror / HOST / PROVIDER
    found = []
    with suppress(OSError):
        for entry in home.iterdir():
            package = _unpacked(mirror, entry, platform) or _packed(mirror, entry, platform)
            if package is not None and _LEAST <= _version(package.version) < _BELOW:
                found.append(package)
    return sorted(found, key=lambda package: (_version(package.version), not package.packed), reverse=True)


def _unpacked(mirror: Path, entry: Path, platform: str) -> Package | None:
    folder = entry / platform
    if not re.fullmatch(r"\d+(\.\d+)+", entry.name) or not folder.is_dir():
        return None
    if not any(os.access(file, os.X_OK) for file in folder.glob("terraform-provider-aws_v*")):
        return None
    return Package(mirror, entry.name, folder, packed=False)


def _packed(mirror: Path, entry: Path, platform: str) -> Package | None:
    found = re.fullmatch(rf"terraform-provider-aws_(\d+(?:\.\d+)+)_{re.escape(platform)}\.zip", entry.name)
    return Package(mirror, found.group(1), entry, packed=True) if found and entry.is_file() else None


def _version(text: str) -> Version:
    return tuple(int(part) for part in text.split("."))


def mirrors_implied(environment: Mapping[str, str]) -> Iterator[Path]:
    """The folders in which Terraform itself looks unasked, and its plugin cache."""
    if cache := environment.get("TF_PLUGIN_CACHE_DIR"):
        yield Path(cache).expanduser()
    home = Path.home()
    yield home / ".terraform.d" / "plugins"
    if sys.platform == "darwin":
        yield home / "Library" / "Application Support" / "io.terraform" / "plugins"
        yield Path("/Library/Application Support/io.terraform/plugins")
    yield Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share") / "terraform" / "plugins"
    for folder in (environment.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":"):
        yield Path(folder) / "terraform" / "plugins"


def mirrors_search(prefixes: tuple[str, ...] = PREFIXES) -> Iterator[Path]:
    """Mirrors under the usual prefixes, the shallow ones first; gives up after some seconds or many folders."""
    until = time.monotonic() + _SECONDS
    waiting = deque((Path(prefix).expanduser(), 0) for prefix in prefixes)
    for _ in range(_FOLDERS):
        if not waiting or time.monotonic() > until:
            return
        folder, depth = waiting.popleft()
        if (folder / HOST / PROVIDER).is_dir():
            yield folder
        if depth < _DEPTH:
            waiting.extend((child, depth + 1) for child in _children(folder))


def _children(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(
                Path(entry.path)
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and entry.name not in _NOT_INTO and entry.name != HOST
            )
    except OSError:
        return []
