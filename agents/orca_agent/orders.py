"""What the portal orders: tasks on the workspace's queue, desired state in its bucket."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Final, Mapping, Optional, Sequence, Tuple, Union

from agents.orca_agent.fields import (
    ID,
    IMAGE,
    IMAGE_ID,
    SHA256,
    VARIABLE,
    Fields,
    Malformed,
    ProtocolError,
    load_object,
    matched,
    public_key,
    relative_path,
)

VERSION: Final = 1
MAX_TASKS: Final = 100
MAX_PATH: Final = 1_024
MAX_INPUTS: Final = 1_000
MAX_FILES_NAMED: Final = 100
MAX_SECRETS: Final = 50
MAX_SLICE: Final = 64 * 1024 * 1024
MAX_ITEMS: Final = 100_000
MAX_AVOIDED: Final = 10
RUNTIMES: Final = frozenset({"python", "shell"})


class WrongWorkspace(ProtocolError):
    """A message names an unknown workspace, or another one than it came from."""

    code = "wrong_workspace"


@dataclass(frozen=True)
class Script:
    """A bundle in the workspace's bucket, and what to run in it."""

    key: str
    sha256: str
    entrypoint: str
    runtime: str
    requirements: Optional[str] = None


@dataclass(frozen=True)
class Limits:
    """What a step may use."""

    seconds: int = 3_600
    memory_mb: int = 2_048
    processes: int = 256
    output_mb: int = 1_024
    log_mb: int = 10


@dataclass(frozen=True)
class Input:
    """What an earlier step has left, to be found below ``$ORCA_INPUTS/<step>``.

    It lies under ``prefix`` in the workspace's own bucket, or in another workspace's: then ``manifest`` is the key, in
    the own bucket, of an object ``{"files": [{"path", "size", "url"}]}``. With neither, it is an empty folder.
    ``files`` are paths that must be there; what else there is comes too.
    """

    step: str
    prefix: str = ""
    manifest: str = ""
    files: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Data:
    """The items that a shard works on: ``length`` bytes from ``offset`` of an object in the workspace's bucket.

    They are JSON lines, one item each: ``{"id", "assets": {name: {"href" or "key", …}}, …}``.
    """

    key: str
    offset: int
    length: int
    items: int


@dataclass(frozen=True)
class Container:
    """What the program runs in: a base ``image``, or what the bundle's ``dockerfile`` makes of one.

    ``pinned`` is the image that it has to be (``sha256:…``); empty where it has never been built. Without ``network``
    it reaches nothing, while it is built and while it runs.
    """

    image: str = ""
    dockerfile: str = ""
    pinned: str = ""
    network: bool = False


@dataclass(frozen=True)
class Task:
    """One attempt at one step. The values of ``secret_names`` never come this way: the agent fetches them.

    ``avoid`` are the ids of instances that leave it to others while they can.
    ``once``: what it costs is bounded. Where it was handed out before, it may have been begun, and the portal counts
    that first: it is given back to the portal.
    """

    workspace: str
    run: str
    step: str
    attempt: int
    name: str
    script: Script
    arguments: Tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    inputs: Tuple[Input, ...] = ()
    secret_names: Tuple[str, ...] = ()
    data: Optional[Data] = None
    container: Optional[Container] = None
    avoid: Tuple[str, ...] = ()
    once: bool = False


@dataclass(frozen=True)
class InvalidTask:
    """A task of which only the identity could be read; ``problem`` says what is wrong with the rest."""

    run: str
    step: str
    attempt: int
    problem: str


AnyTask = Union[Task, InvalidTask]


def tasks_body(tasks: Sequence[Task]) -> str:
    """The body of a task message."""
    return json.dumps({"version": VERSION, "tasks": [asdict(task) for task in tasks]}, separators=(",", ":"))


def parse_tasks(body: str | bytes, workspace: str) -> Tuple[AnyTask, ...]:
    """The tasks of a message, in order. Raises `Malformed` or `WrongWorkspace` where no step can be told."""
    message = load_object(body, "message")
    tasks = message.objects("tasks", lambda fields: _task(fields, workspace), limit=MAX_TASKS)
    if not tasks:
        raise Malformed("message.tasks is empty")
    return tasks


def _task(fields: Fields, workspace: str) -> AnyTask:
    identity = (
        fields.identifier("run"),
        fields.identifier("step"),
        fields.integer("attempt", low=1, high=10**6),
    )
    if fields.identifier("workspace") != workspace:
        raise WrongWorkspace(f"{fields.where} belongs to another workspace")
    try:
        return Task(
            workspace,
            *identity,
            name=fields.text("name", default=""),
            script=_script(fields.child("script")),
            arguments=fields.texts("arguments", limit=1_000, length=32_768),
            environment=fields.variables("environment", limit=500, length=32_768),
            limits=_limits(fields.child_or_none("limits")),
            inputs=_inputs(fields),
            secret_names=fields.items(
                "secret_names", lambda value, where: matched(value, where, VARIABLE), limit=MAX_SECRETS
            ),
            data=_data(fields.child_or_none("data")),
            container=_container(fields.child_or_none("container")),
            avoid=fields.texts("avoid", limit=MAX_AVOIDED, length=32),
            once=fields.flag("once", default=False),
        )
    except Malformed as error:
        return InvalidTask(*identity, problem=str(error))


def _inputs(fields: Fields) -> Tuple[Input, ...]:
    inputs = fields.objects("inputs", _input, limit=MAX_INPUTS)
    if len({found.step for found in inputs}) < len(inputs):
        raise Malformed(f"{fields.where}.inputs names a step twice")
    return inputs


def _input(fields: Fields) -> Input:
    step = relative_path(fields.text("step", limit=120), fields.where + ".step")
    if "/" in step:
        raise Malformed(f"{fields.where}.step is not the name of one folder")
    prefix = fields.text("prefix", limit=MAX_PATH, default="")
    manifest = fields.text("manifest", limit=MAX_PATH, default="")
    if prefix and manifest:
        raise Malformed(f"{fields.where} has both a prefix and a manifest")
    if prefix:
        if not prefix.endswith("/"):
            raise Malformed(f"{fields.where}.prefix does not end with a slash")
        relative_path(prefix[:-1], fields.where + ".prefix")
    if manifest:
        relative_path(manifest, fields.where + ".manifest")
    return Input(step, prefix, manifest, fields.texts("files", limit=MAX_FILES_NAMED, length=MAX_PATH))


def _data(fields: Optional[Fields]) -> Optional[Data]:
    if fields is None:
        return None
    return Data(
        key=relative_path(fields.text("key", limit=MAX_PATH), fields.where + ".key"),
        offset=fields.integer("offset"),
        length=fields.integer("length", high=MAX_SLICE),
        items=fields.integer("items", high=MAX_ITEMS),
    )


def _container(fields: Optional[Fields]) -> Optional[Container]:
    if fields is None:
        return None
    image, pinned = fields.text("image", limit=200, default=""), fields.text("pinned", limit=80, default="")
    dockerfile = fields.text("dockerfile", limit=MAX_PATH, default="")
    if bool(image) == bool(dockerfile):
        raise Malformed(f"{fields.where} has neither an image nor a Dockerfile, or both")
    if dockerfile:
        relative_path(dockerfile, fields.where + ".dockerfile")
    else:
        matched(image, fields.where + ".image", IMAGE)
    if pinned:
        matched(pinned, fields.where + ".pinned", IMAGE_ID)
    return Container(image, dockerfile, pinned, fields.flag("network", default=False))


def _script(fields: Fields) -> Script:
    entrypoint = relative_path(fields.text("entrypoint", limit=MAX_PATH), fields.where + ".entrypoint")
    requirements = None
    if fields.has("requirements"):
        where = fields.where + ".requirements"
        requirements = relative_path(fields.text("requirements", limit=MAX_PATH), where)
    return Script(
        key=fields.text("key", limit=MAX_PATH),
        sha256=fields.match("sha256", SHA256),
        entrypoint=entrypoint,
        runtime=fields.choice("runtime", RUNTIMES),
        requirements=requirements,
    )


def _limits(fields: Optional[Fields]) -> Limits:
    if fields is None:
        return Limits()
    return Limits(
        seconds=fields.integer("seconds", low=1, high=30 * 86_400, default=Limits.seconds),
        memory_mb=fields.integer("memory_mb", low=16, high=2**24, default=Limits.memory_mb),
        processes=fields.integer("processes", low=1, high=2**20, default=Limits.processes),
        output_mb=fields.integer("output_mb", low=0, high=2**24, default=Limits.output_mb),
        log_mb=fields.integer("log_mb", low=0, high=1_024, default=Limits.log_mb),
    )


@dataclass(frozen=True)
class Release:
    """An archive of the agent in a bucket; its sha256 is its version."""

    sha256: str
    key: str
    bucket: str


@dataclass(frozen=True)
class Desired:
    """``control/desired.json``: what the portal wants of every instance, whatever was before.

    ``lease``: an idle instance that sees no new generation for so many seconds shuts itself down; 0 is for a day.
    ``leaving`` are the ids of those that take nothing new: they go away as soon as they are idle.
    """

    generation: int = 0
    authorized_keys: Tuple[str, ...] = ()
    cancelled: Tuple[str, ...] = ()
    draining: bool = False
    leaving: Tuple[str, ...] = ()
    agent: Optional[Release] = None
    lease: int = 0


def desired_body(desired: Desired) -> bytes:
    """The object's content."""
    return json.dumps(asdict(desired), separators=(",", ":")).encode()


def parse_desired(body: str | bytes) -> Desired:
    """Raises `Malformed`."""
    fields = load_object(body, "desired")
    return Desired(
        generation=fields.integer("generation", default=0),
        authorized_keys=fields.items("authorized_keys", public_key, limit=200),
        cancelled=fields.items("cancelled", lambda value, where: matched(value, where, ID), limit=100_000),
        draining=fields.flag("draining", default=False),
        leaving=fields.texts("leaving", limit=1_000, length=32),
        agent=_release(fields.child("agent")) if fields.has("agent") else None,
        lease=fields.integer("lease", high=10 * 366 * 86_400, default=0),
    )


def _release(fields: Fields) -> Release:
    return Release(fields.match("sha256", SHA256), fields.text("key", limit=MAX_PATH), fields.text("bucket"))
