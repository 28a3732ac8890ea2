"""What an instance may ask of the Docker engine that it shares: few calls, closed-in containers, own folders.

On AWS the engine is the instance's own and nothing has to be forbidden. Here it is this machine's: who could ask it
anything would be root on this machine.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

OWNER = "orca.instance"
BUILT = "orca/build:"

_VERSION = re.compile(r"^/v1\.\d+(?=/)")
_CONTAINER = re.compile(r"/containers/([0-9a-f]{12,64})(?:/([a-z]+))?")
_IMAGE = re.compile(r"/images/[\w.:/@-]+/json")
_ASKED_OF_CONTAINERS = {
    ("GET", "json"),
    ("GET", "stats"),
    ("POST", "attach"),
    ("POST", "kill"),
    ("POST", "start"),
    ("POST", "update"),
    ("DELETE", None),
}
_SIMPLE = {("GET", "/_ping"): "ping", ("GET", "/version"): "ping"}
_WITH_BODIES = {
    ("POST", "/build"): "build",
    ("POST", "/images/create"): "pull",
    ("POST", "/containers/create"): "create",
    ("GET", "/containers/json"): "list",
}

_OF_BUILDS = {
    "dockerfile",
    "forcerm",
    "memory",
    "memswap",
    "networkmode",
    "rm",
    "shmsize",
    "t",
    "ulimits",
    "version",
}
_OF_CONTAINERS = {
    "AttachStderr",
    "AttachStdout",
    "Cmd",
    "Entrypoint",
    "Env",
    "Healthcheck",
    "HostConfig",
    "Hostname",
    "Image",
    "Labels",
    "NetworkDisabled",
    "StopSignal",
    "User",
    "WorkingDir",
}
_LIMITS = {
    "Init",
    "Memory",
    "MemorySwap",
    "NanoCpus",
    "OomScoreAdj",
    "PidsLimit",
    "ShmSize",
    "Ulimits",
}
#: What has to be so for a container to be closed in; anything else that is not a limit or a mount is refused.
_CLOSED_IN: Mapping[str, tuple[Any, ...]] = {
    "CapDrop": (["ALL"],),
    "IpcMode": ("private",),
    "LogConfig": ({"Type": "none"},),
    "NetworkMode": ("none", "bridge"),
    "Privileged": (False,),
    "ReadonlyRootfs": (True,),
    "RestartPolicy": ({"Name": "no"},),
    "SecurityOpt": (["no-new-privileges"],),
}
_OF_MOUNTS = {"Type", "Source", "Target", "ReadOnly", "BindOptions"}


class Refused(Exception):
    """An instance may not ask this."""


@dataclass(frozen=True)
class Call:
    """``kind`` is what is asked; ``container`` of which one, "" where of none."""

    kind: str
    container: str = ""


@dataclass(frozen=True)
class Folders:
    """Folders of an instance that containers may see, by their path in it, and where they lie on this machine."""

    places: Mapping[str, Path]

    def on_this_machine(self, path: str) -> Path:
        """Where a path of the instance really lies. Raises `Refused`, also where a link is on the way."""
        named = PurePosixPath(path)
        if not named.is_absolute() or ".." in named.parts:
            raise Refused(f"{path} cannot be mounted")
        for inside, place in self.places.items():
            if PurePosixPath(inside) in named.parents:
                found = place.joinpath(*named.relative_to(inside).parts)
                if _without_links(place, found):
                    return found
        raise Refused(f"{path} cannot be mounted")


def _without_links(place: Path, found: Path) -> bool:
    """Whether each step of the way is a real folder."""
    path = place
    for part in found.relative_to(place).parts:
        path = path / part
        try:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                return False
        except OSError:
            return False
    return True


def understand(method: str, path: str) -> Call:
    """Which call this is. Raises `Refused`."""
    path = _VERSION.sub("", path)
    kind = _SIMPLE.get((method, path)) or _WITH_BODIES.get((method, path))
    if kind:
        return Call(kind)
    if method == "GET" and _IMAGE.fullmatch(path) and ".." not in path:
        return Call("image")
    found = _CONTAINER.fullmatch(path)
    if found and (method, found[2]) in _ASKED_OF_CONTAINERS:
        return Call(found[2] or "remove", found[1])
    raise Refused(f"{method} {path} is not for instances")


def check_build(query: Mapping[str, str]) -> int:
    """Raises `Refused`; returns the mark by which the containers of this build are known."""
    if not set(query) <= _OF_BUILDS:
        raise Refused(f"a build cannot ask for {', '.join(sorted(set(query) - _OF_BUILDS))}")
    if query.get("networkmode") not in ("none", "bridge"):
        raise Refused("a build has no network, or the usual one")
    if not query.get("t", "").startswith(BUILT):
        raise Refused(f"what is built is called {BUILT}…")
    if not query.get("shmsize", "").isdigit() or not query.get("memory", "").isdigit():
        raise Refused("a build has limits")
    return int(query["shmsize"])


def check_pull(query: Mapping[str, str]) -> None:
    """Raises `Refused`."""
    if not set(query) <= {"fromImage", "tag"}:
        raise Refused("an image is fetched by its name")


def closed_in(body: Mapping[str, Any], folders: Folders, instance_id: str) -> dict[str, Any]:
    """What the engine is asked in the place of ``body``. Raises `Refused`."""
    host = body.get("HostConfig")
    if not set(body) <= _OF_CONTAINERS or not isinstance(host, dict):
        raise Refused(f"a container cannot have {', '.join(sorted(set(body) - _OF_CONTAINERS))}")
    unknown = set(host) - _LIMITS - set(_CLOSED_IN) - {"Mounts", "Tmpfs"}
    if unknown:
        raise Refused(f"a container cannot have {', '.join(sorted(unknown))}")
    for name, allowed in _CLOSED_IN.items():
        if host.get(name) not in allowed:
            raise Refused(f"{name} has to be {' or '.join(str(value) for value in allowed)}")
    if str(body.get("User", "")).partition(":")[0] in ("", "0", "root"):
        raise Refused("a container's user is not root")
    mounts = [_mount(mount, folders) for mount in host.get("Mounts") or []]
    return {
        **body,
        "Labels": {**body.get("Labels", {}), OWNER: instance_id},
        "HostConfig": {**host, "Mounts": mounts},
    }


def _mount(mount: Mapping[str, Any], folders: Folders) -> dict[str, Any]:
    if not set(mount) <= _OF_MOUNTS or mount.get("Type") != "bind":
        raise Refused("only folders can be mounted")
    if mount.get("BindOptions", {}) not in ({}, {"Propagation": "rprivate"}):
        raise Refused("mounts are private")
    return {**mount, "Source": str(folders.on_this_machine(str(mount.get("Source"))))}


def check_update(body: Mapping[str, Any]) -> None:
    """Raises `Refused`."""
    if set(body) != {"PidsLimit"}:
        raise Refused("of a container that runs only the number of processes can be bounded")


def is_own(found: Mapping[str, Any], instance_id: str, marks: set[int]) -> bool:
    """Whether a container (as the engine describes it) is the instance's: started by it, or part of a build of its."""
    owner = (found["Config"].get("Labels") or {}).get(OWNER)
    return owner == instance_id or (owner is None and found["HostConfig"].get("ShmSize") in marks)
