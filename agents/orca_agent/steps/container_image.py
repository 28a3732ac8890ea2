"""The image that a step's container is made of: found on this instance, pulled, or built from the bundle."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Callable, Dict, Final, Optional, Set, Tuple

from agents.orca_agent.events import Reason
from agents.orca_agent.orders import Container
from agents.orca_agent.steps import container_build, dockerfile
from agents.orca_agent.steps.container_build import Built, Job
from agents.orca_agent.steps.container_registry import Registry, digest_key
from agents.orca_agent.steps.engine import Engine, EngineError
from agents.orca_agent.steps.failure import StepFailed

OWN: Final = "orca/"
REPOSITORY: Final = "orca/build"
DOCKERFILE: Final = "Dockerfile"
DEBIAN: Final = "public.ecr.aws/docker/library/debian:bookworm-slim"
RECIPES: Final = {
    "orca/python": (
        f"FROM {DEBIAN}\n"
        "RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pil python3-numpy"
        " && rm -rf /var/lib/apt/lists/*\n"
    ),
    "orca/shell": f"FROM {DEBIAN}\n",
}
"""Orca's own images, for instances that nobody gave them to; ``scripts/images`` does, without a network."""
MB: Final = 1024 * 1024
DISK_RESERVE_MB: Final = 1_024
MAX_DOCKERFILE: Final = 256 * 1024
MOST_VOLUMES: Final = 20
KEPT: Final = 40
PULL_SECONDS: Final = 900.0
WAIT: Final = 0.2


@dataclass(frozen=True)
class Site:
    """The step that wants an image: where its bundle lies, what it may use, and its log.

    ``check`` is called now and then, and may raise.
    """

    folder: Path
    memory_mb: int
    say: Callable[[str], object]
    write: Callable[[str, bytes], object]
    check: Callable[[], object]


@dataclass(frozen=True)
class Image:
    """``id`` is ``sha256:…``; ``volumes`` are the folders that it wants to write to."""

    id: str
    volumes: Tuple[str, ...] = ()

    @classmethod
    def of(cls, found: Dict[str, Any]) -> Image:
        """Raises `StepFailed`."""
        volumes = tuple(sorted((found.get("Config") or {}).get("Volumes") or {}))
        if len(volumes) > MOST_VOLUMES:
            message = f"The image declares {len(volumes)} volumes; {MOST_VOLUMES} are allowed."
            raise StepFailed(Reason.BUILD_FAILED, message)
        return cls(str(found["Id"]), volumes)


def build_key(text: str, context: str, bases: Dict[str, str], *, network: bool) -> str:
    """A name for what a build makes: the same Dockerfile, files and base images give the same."""
    parts = json.dumps([text, context, sorted(bases.items()), network])
    return hashlib.sha256(parts.encode()).hexdigest()[:40]


class Images:
    """The images of this instance. Of steps that want the same one, the first builds it and the others wait."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.registry: Optional[Registry] = None
        self._changed = threading.Condition()
        self._building: Set[str] = set()

    def find_or_make(self, container: Container, site: Site) -> Image:
        """Raises `StepFailed` or `EngineError`, and what the site's ``check`` raises."""
        if container.pinned:
            found = self._engine.image(container.pinned) or self._pushed(digest_key(container.pinned), site)
            if found is not None and found["Id"] == container.pinned:
                return Image.of(found)
        if container.image:
            image = Image.of(self._there(container.image, site))
        else:
            image = Image.of(self._built(container, site))
        if container.pinned and image.id != container.pinned:
            site.say(
                f"The image that this version ran in before ({container.pinned[:19]}…) is not on this instance any "
                f"more; it runs in {image.id[:19]}…"
            )
        return image

    def _there(self, name: str, site: Site) -> Dict[str, Any]:
        """An image by its name, pulled where it is not here yet."""
        found = self._engine.image(name)
        if found is None:
            with self._alone(f"pull {name}", site):
                make = self._made if name.startswith(OWN) else self._pulled
                found = self._engine.image(name) or make(name, site)
        return found

    def _made(self, name: str, site: Site) -> Dict[str, Any]:
        """One of Orca's own images. It is never pulled: in a public registry, the name may be anybody's."""
        plain = name.partition(":")[0]
        if plain not in RECIPES or name not in {plain, f"{plain}:latest"}:
            raise StepFailed(Reason.IMAGE_UNAVAILABLE, f"Orca has no image {name}; it has {', '.join(RECIPES)}.")
        recipe, tag = RECIPES[plain], f"{REPOSITORY}:{plain.partition('/')[2]}"
        key = f"own-{hashlib.sha256(recipe.encode()).hexdigest()[:40]}"
        found = self._pushed(key, site, tag) or self._share(key, tag, self._recipe_built(plain, tag, site), site)
        self._engine.call("POST", f"/images/{found['Id']}/tag", {"repo": plain, "tag": "latest"})
        return found

    def _recipe_built(self, plain: str, tag: str, site: Site) -> Dict[str, Any]:
        site.say(f"Making the image {plain} …")
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as context:
            (Path(folder) / DOCKERFILE).write_text(RECIPES[plain])
            container_build.write_context(Path(folder), DOCKERFILE, context, whole=False)
            context.seek(0)
            job = Job(tag, DOCKERFILE, context, site.memory_mb, network=True)
            built = container_build.build(self._engine, job, write=site.write, check=site.check)
        if built.problem:
            message = (
                f"The image {plain} is not on this instance, and could not be made: {built.problem} "
                "(where the engine is your own machine's, scripts/images puts it there)"
            )
            raise StepFailed(Reason.IMAGE_UNAVAILABLE, message)
        found = self._engine.image(tag)
        if found is None:
            raise StepFailed(Reason.IMAGE_UNAVAILABLE, f"The image {plain} is gone again.")
        return found

    def _pulled(self, name: str, site: Site) -> Dict[str, Any]:
        site.say(f"Fetching the image {name} …")
        try:
            container_build.pull(self._engine, name, seconds=PULL_SECONDS, check=site.check)
            found = self._engine.image(name)
        except EngineError as error:
            message = f"The image {name} is not on this instance, and could not be fetched: {error}."
            raise StepFailed(Reason.IMAGE_UNAVAILABLE, message) from error
        if found is None:
            raise StepFailed(Reason.IMAGE_UNAVAILABLE, f"There is no image {name}.")
        return found

    def _built(self, container: Container, site: Site) -> Dict[str, Any]:
        text = _read(site.folder, container.dockerfile)
        bases = {name: self._there(name, site) for name in dockerfile.base_images(text)}
        triggers = [line for found in bases.values() for line in (found.get("Config") or {}).get("OnBuild") or []]
        why = dockerfile.refusal(text, triggers)
        if why:
            raise StepFailed(Reason.BUILD_FAILED, f"The image could not be built. {why}")
        with tempfile.TemporaryFile(dir=site.folder.parent) as context:  # /tmp may be memory
            whole = bool(triggers) or dockerfile.uses_context(text)
            digest = container_build.write_context(site.folder, container.dockerfile, context, whole=whole)
            ids = {name: str(found["Id"]) for name, found in bases.items()}
            key = build_key(text, digest, ids, network=container.network)
            found = self._engine.image(f"{REPOSITORY}:{key}")
            return found or self._build_once(key, container, context, site)

    def _build_once(self, key: str, container: Container, context: IO[bytes], site: Site) -> Dict[str, Any]:
        tag = f"{REPOSITORY}:{key}"
        with self._alone(tag, site):
            found = self._engine.image(tag) or self._pushed(key, site, tag)
            if found is not None:
                return found
            context.seek(0)
            free = shutil.disk_usage(site.folder).free // MB - DISK_RESERVE_MB
            disk = min(Job.disk_mb, max(DISK_RESERVE_MB // 8, free))
            job = Job(tag, container.dockerfile, context, site.memory_mb, network=container.network, disk_mb=disk)
            self._make_room()
            self._build(job, site)
        found = self._engine.image(tag)
        if found is None:
            raise StepFailed(Reason.BUILD_FAILED, "The image that was built is gone again.")
        return self._share(key, tag, found, site)

    def _share(self, key: str, tag: str, found: Dict[str, Any], site: Site) -> Dict[str, Any]:
        """Have the other instances find what was built here. Of two that have built it at once, the first to push it
        has made it for both."""
        if self.registry is None or not self.registry.push(self._engine, tag, key, site.check):
            return found
        name = self.registry.pull(self._engine, key, site.check)
        first = self._named(name, tag) if name else None
        shared = first or found
        self.registry.push(self._engine, tag, digest_key(str(shared["Id"])), site.check)
        return shared

    def _pushed(self, key: str, site: Site, tag: str = "") -> Optional[Dict[str, Any]]:
        """What another instance of the workspace has built, if it has; it gets ``tag`` here."""
        if self.registry is None:
            return None
        self._make_room()
        name = self.registry.pull(self._engine, key, site.check)
        if name is None:
            return None
        site.say("Fetched the image, which another instance of the workspace has built.")
        return self._named(name, tag)

    def _named(self, name: str, tag: str) -> Optional[Dict[str, Any]]:
        if tag:
            self._engine.call("POST", f"/images/{name}/tag", dict(zip(("repo", "tag"), tag.split(":"))))
        return self._engine.image(name)

    def _build(self, job: Job, site: Site) -> None:
        site.say(f"Building the image of {job.dockerfile} …")
        began = time.monotonic()
        built: Built = container_build.build(self._engine, job, write=site.write, check=site.check)
        if built.problem:
            last = "\n".join(built.last)
            raise StepFailed(Reason.BUILD_FAILED, f"The image could not be built. {built.problem}\n{last}".rstrip())
        site.say(f"Built in {time.monotonic() - began:.1f} s.")

    def _alone(self, key: str, site: Site) -> _Alone:
        return _Alone(self._changed, self._building, key, site.check)

    def _make_room(self) -> None:
        """Let go of the images that were built longest ago; the engine keeps those that are in use.

        Before another comes and not afterwards: fetched, or made of layers that were there, it may be older than all.
        By their names: by its id, an engine lets go of none that has names in two repositories.
        """
        ours = [REPOSITORY, *([self.registry.repository] if self.registry is not None else [])]
        try:
            found = self._engine.call("GET", "/images/json", {"filters": {"reference": ours}})
        except EngineError:  # one that is shared looks after itself
            return
        for image in sorted(found, key=lambda image: -int(image["Created"]))[KEPT:]:
            for name in image.get("RepoTags") or []:
                if name.rpartition(":")[0] in ours:
                    with suppress(EngineError):
                        self._engine.call("DELETE", f"/images/{name}")


class _Alone:
    """While the block runs, no other thread is in one with the same key."""

    def __init__(self, changed: threading.Condition, keys: Set[str], key: str, check: Callable[[], object]) -> None:
        self._changed, self._keys, self._key, self._check = changed, keys, key, check

    def __enter__(self) -> None:
        with self._changed:
            while self._key in self._keys:
                self._changed.wait(WAIT)
                self._check()
            self._keys.add(self._key)

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._keys.discard(self._key)
            self._changed.notify_all()


def _read(folder: Path, name: str) -> str:
    path = folder / name
    if not path.is_file():
        raise StepFailed(Reason.BUILD_FAILED, f"There is no file {name!r} in the bundle.")
    if path.stat().st_size > MAX_DOCKERFILE:
        raise StepFailed(Reason.BUILD_FAILED, f"{name} is larger than {MAX_DOCKERFILE >> 10} kB.")
    return path.read_bytes().decode("utf-8", "replace")
