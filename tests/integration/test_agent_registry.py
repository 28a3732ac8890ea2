"""Images on their way from one node to another: real engines, a real registry, and the agent between them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agents.orca_agent.cloud.client import Client
from agents.orca_agent.cloud.metadata import FixedCredentials
from agents.orca_agent.cloud.registry import RegistryTokens
from agents.orca_agent.cloud.transport import Transport
from agents.orca_agent.orders import Container
from agents.orca_agent.steps import container_image
from agents.orca_agent.steps.container_image import Image, Images, Site
from agents.orca_agent.steps.container_registry import Registry, digest_key
from agents.orca_agent.steps.engine import Engine

if TYPE_CHECKING:
    from tests.fixtures.agent import Events, MotoCloud
    from tests.fixtures.containers import AgentWith
    from tests.fixtures.registry import ImageRegistry

pytest_plugins = [
    "tests.fixtures.agent",
    "tests.fixtures.engine",
    "tests.fixtures.containers",
    "tests.fixtures.registry",
]

# Every build of it makes another image: what two nodes have in common, one of them has from the other.
DOCKERFILE = "FROM {base}\nRUN cat /proc/sys/kernel/random/uuid > /made; : {mark}\n"
WANTED = Container(dockerfile="Dockerfile")


class Node:
    """An instance: its engine, what its agent knows of images, and what steps there were told."""

    def __init__(self, socket: str, registry: Registry, folder: Path) -> None:
        self.engine = Engine(socket)
        assert self.engine.answers()
        self.images = Images(self.engine)
        self.images.registry = registry
        self.said: list[str] = []
        self._folder = folder

    def image(self, dockerfile: str, wanted: Container = WANTED) -> Image:
        (self._folder / "Dockerfile").write_text(dockerfile)
        self.said.clear()
        site = Site(self._folder, 512, self.said.append, lambda stream, data: None, lambda: None)
        return self.images.find_or_make(wanted, site)

    @property
    def has_built(self) -> bool:
        return any(text.startswith("Built in") for text in self.said)


Nodes = Callable[..., tuple[Node, Node]]


@pytest.fixture
def repository(image_registry: ImageRegistry) -> str:
    return f"{image_registry.host}/orca-{secrets.token_hex(4)}"


@pytest.fixture
def nodes(
    docker_socket: str, second_socket: str, repository: str, image_registry: ImageRegistry, tmp_path: Path
) -> Nodes:
    """Two nodes of a workspace; what the second says for itself at the registry can be given."""

    def made(second: Registry | None = None) -> tuple[Node, Node]:
        known = Registry(repository, lambda: image_registry.token)
        folders = [tmp_path / "one", tmp_path / "two"]
        for folder in folders:
            folder.mkdir()
        return Node(docker_socket, known, folders[0]), Node(second_socket, second or known, folders[1])

    return made


def dockerfile(base: str = "orca/shell") -> str:
    return DOCKERFILE.format(base=base, mark=secrets.token_hex(8))


def test_what_one_node_has_built_the_other_pulls_and_runs(
    moto_cloud: MotoCloud,
    second_cloud: MotoCloud,
    docker_socket: str,
    second_socket: str,
    repository: str,
    agent_with_engine: AgentWith,
) -> None:
    """The whole agent, with the token that it asks of ECR."""
    moto_cloud.registry = second_cloud.registry = repository
    files = {"Dockerfile": dockerfile(), "run.sh": "cat /made\n"}

    def ran(cloud: MotoCloud, events: Events, text: str, pinned: str = "") -> tuple[str, list[str], str]:
        """The image's id, what it printed, and what the agent said."""
        script = cloud.script({**files, "Dockerfile": text}, entrypoint="run.sh", runtime="shell")
        task = cloud.run(script, container=Container(dockerfile="Dockerfile", pinned=pinned))
        finished = events.finished(task, timeout=60)
        assert finished.state == "succeeded", (finished, events.lines(task))
        return finished.image, events.text(task), "\n".join(events.text(task, "orca"))

    with agent_with_engine(moto_cloud, docker_socket) as (_, events):
        image, made, log = ran(moto_cloud, events, files["Dockerfile"])
    assert "Building the image" in log
    fetched = "Fetched the image, which another instance of the workspace has built."
    with agent_with_engine(second_cloud, second_socket) as (_, events):
        assert ran(second_cloud, events, files["Dockerfile"]) == (image, made, fetched)
        # And the image of a version that ran before, which its Dockerfile would not give any more.
        Engine(second_socket).call("DELETE", f"/images/{image}", {"force": True})
        assert ran(second_cloud, events, dockerfile(), pinned=image) == (image, made, fetched)


def test_an_image_is_found_by_its_digest_without_what_it_was_built_from(
    nodes: Nodes, image_registry: ImageRegistry, repository: str
) -> None:
    here, there = nodes()
    built = here.image(dockerfile())
    assert digest_key(built.id) in image_registry.tags(repository)
    assert len(image_registry.tags(repository)) == 2
    wanted = Container(dockerfile="Dockerfile", pinned=built.id)
    assert there.image("FROM nothing/that/is/there\n", wanted) == built
    assert there.said == ["Fetched the image, which another instance of the workspace has built."]


def test_a_token_that_has_ended_is_asked_for_anew(
    nodes: Nodes, moto_cloud: MotoCloud, image_registry: ImageRegistry, repository: str
) -> None:
    client = Client("ecr", "eu-central-1", FixedCredentials.of_environment(moto_cloud.environment), Transport())
    tokens = RegistryTokens(client, environment=moto_cloud.environment)
    tokens._known, tokens._since = ("AWS", "of yesterday"), tokens._clock()
    here, there = nodes(Registry(repository, tokens.get, tokens.forget))
    text = dockerfile()
    built = here.image(text)
    assert there.image(text) == built
    assert not there.has_built
    assert tokens.get() == image_registry.token


def test_who_is_not_let_in_builds_alone(nodes: Nodes, repository: str) -> None:
    here, there = nodes(Registry(repository, lambda: ("AWS", "wrong")))
    text = dockerfile()
    built, alone = here.image(text), there.image(text)
    assert there.has_built
    assert alone.id != built.id


def test_a_registry_that_is_down_keeps_nobody_from_building(
    nodes: Nodes, image_registry: ImageRegistry, repository: str
) -> None:
    now = [0.0]
    here, there = nodes(Registry(repository, lambda: image_registry.token, clock=lambda: now[0]))
    first, second = dockerfile(), dockerfile()
    here.image(first)
    image_registry.stop()
    try:
        there.image(first)
        assert there.has_built
    finally:
        image_registry.start()
    here.image(second)
    there.image(second)
    assert there.has_built, "it was asked again at once"
    now[0] = 100.0
    third = dockerfile()
    assert there.image(third) == here.image(third)
    assert (there.has_built, here.has_built) == (True, False)


def test_what_is_gone_from_the_registry_is_built_again(
    nodes: Nodes, image_registry: ImageRegistry, repository: str
) -> None:
    here, there = nodes()
    text = dockerfile()
    built = here.image(text)
    image_registry.remove(repository, digest_key(built.id))  # with all tags that it has
    assert image_registry.tags(repository) == set()
    again = there.image(text, Container(dockerfile="Dockerfile", pinned=built.id))
    assert there.has_built
    assert "is not on this instance any more" in there.said[-1]
    assert again.id != built.id
    assert digest_key(again.id) in image_registry.tags(repository)


def test_orcas_own_images_are_made_once_in_a_workspace(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is built on them has the same key everywhere only if they are the same everywhere."""
    monkeypatch.setitem(container_image.RECIPES, "orca/new", dockerfile())
    here, there = nodes()
    wanted = Container(image="orca/new")
    made = here.image("", wanted)
    assert "Making the image orca/new …" in here.said
    assert there.image("", wanted) == made
    assert "Making the image orca/new …" not in there.said
    text = dockerfile("orca/new")
    assert there.image(text) == here.image(text)
    for node in (here, there):
        node.engine.call("DELETE", "/images/orca/new", {"force": True})


def test_old_images_go_whatever_names_they_have(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_image, "KEPT", 1)
    here, there = nodes()
    texts = [dockerfile() for _ in range(3)]
    built = [here.image(text) for text in texts]
    assert [there.image(text) for text in texts] == built
    for node in (here, there):
        left = [node.engine.image(image.id) is not None for image in built]
        assert (sum(left[:2]), left[2]) == (1, True)  # of two that were built in one second, either is the older one
