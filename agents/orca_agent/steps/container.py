"""Steps that run in containers of this instance's Docker engine: how they are closed in, started and cleaned up.

Nothing that a Dockerfile says loosens anything here: neither its USER, its ENTRYPOINT nor its VOLUMEs are followed.
"""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, Dict, Final, List, Mapping, Optional, Sequence, Tuple

from agents.orca_agent.account import Account
from agents.orca_agent.events import ENGINE_COMING, ENGINE_NONE, ENGINE_READY, Reason
from agents.orca_agent.layout import Layout
from agents.orca_agent.orders import Container, Task
from agents.orca_agent.steps.container_image import Image, Images, Site
from agents.orca_agent.steps.container_registry import Registry
from agents.orca_agent.steps.container_warden import Bounds, ContainerWarden
from agents.orca_agent.steps.engine import Engine, EngineError
from agents.orca_agent.steps.failure import StepFailed
from agents.orca_agent.steps.process import Order, StepProcess

log = logging.getLogger(__name__)

UID: Final = 1000
OWNER: Final = "orca.owner"
STEP: Final = "orca.step"
WORK: Final = "/work"
HOME: Final = "/tmp"  # noqa: S108 (it is the container's own)
FOLDERS: Final = {
    "ORCA_INPUT": ("/input", True),
    "ORCA_INPUTS": ("/inputs", True),
    "ORCA_SECRETS": ("/secrets", True),
    "ORCA_OUTPUT": ("/output", False),
}
"""The variables that name a folder of the step; where that lies in a container, and whether it is read-only there."""

MB: Final = 1024 * 1024
MOST_TMP_MB: Final = 1_024
VOLUME_MB: Final = 16
SPARE_PROCESSES: Final = 8
"""So that a program which has too many is seen to have them, and ended, instead of being denied more for ever."""
OPEN_FILES: Final = 4_096
GONE_WITHIN: Final = 30.0
COMES_WITHIN: Final = 300.0
LOOKS_EVERY: Final = 0.2
STATE_HOLDS: Final = 30.0
UNAVAILABLE: Final = (
    "There is no container engine on this instance. Docker has to be installed and running there, as it is on every "
    "new one; a step without a container needs none."
)

BASE: Final = {"HOME": HOME, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
"""What every program in a container gets. Where the cloud is, it need not know: it has no credentials."""


def account_in_containers(account: Account) -> Account:
    """The user that programs are in a container; whose the files are that they leave."""
    if account.uid is None and os.geteuid() != 0:
        return account
    return Account("container", UID, UID, Path(HOME))


def arguments(task: Task, folder: Path) -> List[str]:
    """The command line in a container, for the bundle that lies in ``folder``. Raises `StepFailed`."""
    name = task.script.entrypoint
    entrypoint = folder / name
    if not entrypoint.is_file():
        raise StepFailed(Reason.BUNDLE_INVALID, f"There is no file {name!r} in the bundle.")
    name = f"./{name}" if name.startswith("-") else name
    if task.script.runtime == "python":
        return ["python3", name, *task.arguments]
    return [*_shell(entrypoint), name, *task.arguments]


def _shell(script: Path) -> List[str]:
    """What the first line names: whether it is there, the image decides."""
    with script.open("rb") as file:
        first = file.readline(256).decode("utf-8", "replace").strip()
    try:
        return (shlex.split(first[2:]) if first.startswith("#!") else []) or ["/bin/sh"]
    except ValueError:
        return ["/bin/sh"]


class Containers:
    """The engine as steps use it; ``path`` names its socket, or nothing."""

    def __init__(self, path: Callable[[], Optional[str]], layout: Layout) -> None:
        self._path = path
        self._layout = layout
        self.registry: Optional[Registry] = None
        """Known when the settings are; nothing is built before."""
        self._lock = threading.Lock()
        self._engine: Optional[Engine] = None
        self._images: Optional[Images] = None
        self._seen: Tuple[float, str] = (float("-inf"), "")

    def state(self) -> str:
        """Whether there is an engine, for heartbeats: one of ``ENGINE_…``. It may come and go."""
        if self._layout.engine_coming.exists():
            return ENGINE_COMING
        at, state = self._seen
        if time.monotonic() - at > STATE_HOLDS:
            path = self._path()
            state = ENGINE_READY if path and Engine(path).answers() else ENGINE_NONE
            self._seen = (time.monotonic(), state)
        return state

    def clean_up(self) -> None:
        """Remove the containers that an earlier agent of this instance, killed in the middle, has left."""
        try:
            self._ready()
        except StepFailed:
            log.info("no container engine answers")

    def prepare(self, container: Container, site: Site) -> Image:
        """The image for a step; fetched or built where it is not there. Raises `StepFailed`."""
        self._await(site)
        images = self._ready()
        try:
            return images.find_or_make(container, site)
        except EngineError as error:
            raise StepFailed(Reason.CONTAINER_UNAVAILABLE, f"The container engine failed: {error}.") from error

    def _await(self, site: Site) -> None:
        """Where the engine is only being installed, it is waited for."""
        until = time.monotonic() + COMES_WITHIN
        if self._layout.engine_coming.exists():
            site.say("Waiting for the container engine, which is being installed on this instance …")
        while self._layout.engine_coming.exists() and time.monotonic() < until:
            site.check()
            time.sleep(LOOKS_EVERY)

    def start(self, image: Image, task: Task, slots: int, order: Order) -> StepProcess:
        """Start what is ordered in a container of that image; ``slots`` share the processors. Raises `StepFailed`."""
        self._ready()
        engine = self._engine
        assert engine is not None  # noqa: S101 (`_ready` has found it)
        network = task.container is not None and task.container.network
        labels = {OWNER: self._owner(), STEP: task.step}
        own = (order.folder.parent, self._layout.secrets / order.folder.parent.name)
        cpus = (os.cpu_count() or 1) / max(1, slots)
        body = create_body(image, order, labels, own=own, network=network, cpus=cpus)
        try:
            made = engine.call("POST", "/containers/create", None, body)["Id"]
        except EngineError as error:
            raise StepFailed(Reason.START_FAILED, f"Its container could not be made: {error}.") from error
        try:
            return self._watched(engine, made, order)
        except EngineError as error:
            engine.remove(made)
            raise StepFailed(Reason.START_FAILED, f"It could not be started in its container: {error}.") from error

    def _watched(self, engine: Engine, container: str, order: Order) -> StepProcess:
        bounds = Bounds(order.seconds, order.grace, order.processes + 1)
        with ExitStack() as opened:
            out, their_out = os.pipe()
            err, their_err = os.pipe()
            channel, their_channel = socket.socketpair()
            warden = ContainerWarden(engine, container, bounds, their_channel, (their_out, their_err))
            opened.callback(warden.discard)
            opened.callback(channel.close)
            opened.callback(os.close, out)
            opened.callback(os.close, err)
            warden.start()
            opened.pop_all()
        return StepProcess(channel, out, err, after=lambda: warden.join(GONE_WITHIN))

    def _ready(self) -> Images:
        """Raises `StepFailed` where no engine answers. One that has just begun to may have our containers still."""
        with self._lock:
            if self._images is not None and self._engine is not None and self._engine.answers():
                self._images.registry = self.registry
                return self._images
            path = self._path()
            engine = Engine(path) if path else None
            if engine is None or not engine.answers():
                raise StepFailed(Reason.CONTAINER_UNAVAILABLE, UNAVAILABLE)
            if self._images is None:
                try:
                    for left in engine.containers(f"{OWNER}={self._owner()}"):
                        engine.remove(left)
                except EngineError as error:
                    raise StepFailed(Reason.CONTAINER_UNAVAILABLE, f"The container engine failed: {error}.") from error
                self._images = Images(engine)
            self._images.registry = self.registry
            self._engine = engine
            return self._images

    def _owner(self) -> str:
        """A name that stays while the disk does: engines may be shared, and ids of instances repeat in tests."""
        if not self._layout.owner.exists():
            self._layout.owner.write_text(secrets.token_hex(16))
        return self._layout.owner.read_text()


def create_body(
    image: Image, order: Order, labels: Mapping[str, str], *, own: Sequence[Path], network: bool, cpus: float
) -> Dict[str, Any]:
    """What the engine is asked for: the whole of how a container is closed in.

    ``own`` are the folders of the step; nothing else of the instance can be mounted.
    """
    environment, mounts = _inside(order, own)
    memory = order.memory_mb * MB
    tmp_mb = min(MOST_TMP_MB, max(16, order.memory_mb // 2))
    tmpfs = {HOME: f"rw,nosuid,nodev,mode=1777,size={tmp_mb}m"}
    taken = {HOME, WORK, *(str(mount["Target"]) for mount in mounts)}
    for volume in image.volumes:
        if volume.rstrip("/") not in taken:
            tmpfs[volume] = f"rw,nosuid,nodev,noexec,mode=1777,size={VOLUME_MB}m"
    return {
        "Image": image.id,
        "Entrypoint": list(order.argv),
        "Cmd": [],
        "User": f"{UID}:{UID}",
        "WorkingDir": WORK,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": dict(labels),
        "Hostname": "orca",
        "AttachStdout": True,
        "AttachStderr": True,
        "StopSignal": "SIGTERM",
        "Healthcheck": {"Test": ["NONE"]},
        "NetworkDisabled": not network,
        "HostConfig": {
            "Mounts": mounts,
            "Tmpfs": tmpfs,
            "ReadonlyRootfs": True,
            "Privileged": False,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": order.processes + SPARE_PROCESSES,
            "Memory": memory,
            "MemorySwap": memory,
            "NanoCpus": int(max(0.1, cpus) * 1_000_000_000),
            "NetworkMode": "bridge" if network else "none",
            "IpcMode": "private",
            "ShmSize": min(64, tmp_mb) * MB,
            "OomScoreAdj": 500,
            "Init": True,
            "Ulimits": [
                {"Name": "core", "Soft": 0, "Hard": 0},
                {"Name": "nofile", "Soft": OPEN_FILES, "Hard": OPEN_FILES},
                {"Name": "fsize", "Soft": order.file_mb * MB, "Hard": order.file_mb * MB},
            ],
            "LogConfig": {"Type": "none"},
            "RestartPolicy": {"Name": "no"},
        },
    }


def _inside(order: Order, own: Sequence[Path]) -> Tuple[Dict[str, str], List[Dict[str, Any]]]:
    """The environment as it reads in the container, and what has to be mounted for it to be true.

    A variable that its owner has set may name any folder: that is only a text.
    """
    environment = {**order.environment, "TMPDIR": HOME}
    mounts = [_mount(str(order.folder), WORK, read_only=True)]
    for name, (target, read_only) in FOLDERS.items():
        if _is_within(environment.get(name, ""), own):
            mounts.append(_mount(environment[name], target, read_only=read_only))
            environment[name] = target
    # ``./output`` is where a step without a container leaves its files.
    mounts.append(_mount(str(order.folder / "output"), f"{WORK}/output", read_only=False))
    return environment, mounts


def _is_within(path: str, folders: Sequence[Path]) -> bool:
    named = Path(path)
    return ".." not in named.parts and any(folder == named or folder in named.parents for folder in folders)


def _mount(source: str, target: str, *, read_only: bool) -> Dict[str, Any]:
    return {
        "Type": "bind",
        "Source": source,
        "Target": target,
        "ReadOnly": read_only,
        "BindOptions": {"Propagation": "rprivate"},
    }
