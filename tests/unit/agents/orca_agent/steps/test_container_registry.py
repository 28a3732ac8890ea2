"""Images on their way from one instance to another, where the registry says something that a real one says seldom.

With real engines and a real registry: ``tests/integration/test_agent_registry.py``.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.steps.container_registry import REST, Registry

REPOSITORY = "100000000001.dkr.ecr.eu-central-1.amazonaws.com/orca-x"
EXPIRED = "denied: Your authorization token has expired. Reauthenticate and try again."


class Answer(io.BytesIO):
    """What an engine says, line by line."""


class EngineThatSays:
    """Answers every push and pull with the next of these errors, then with success; notes who asked."""

    def __init__(self, *errors: str) -> None:
        self.errors = list(errors)
        self.who: list[dict[str, str]] = []

    @contextlib.contextmanager
    def stream(self, method: str, path: str, query: dict[str, str], **more: Any) -> Iterator[Answer]:
        self.who.append(json.loads(base64.urlsafe_b64decode(more["headers"]["X-Registry-Auth"])))
        said = {"error": self.errors.pop(0)} if self.errors else {"status": "done"}
        yield Answer(json.dumps(said).encode() + b"\n")

    def call(self, method: str, path: str, query: dict[str, str]) -> None:
        assert path.endswith("/tag")

    def image(self, name: str) -> dict[str, str]:
        return {"Id": "x"}


def pulled(registry: Registry, engine: EngineThatSays) -> str | None:
    real: Any = engine
    return registry.pull(real, "key", lambda: None)


def pushed(registry: Registry, engine: EngineThatSays) -> bool:
    real: Any = engine
    return registry.push(real, "orca/build:key", "key", lambda: None)


def secret() -> tuple[str, str]:
    return "AWS", "secret"


def test_the_registry_is_told_who_asks() -> None:
    engine = EngineThatSays()
    assert pulled(Registry(REPOSITORY, secret), engine) == f"{REPOSITORY}:key"
    host = REPOSITORY.partition("/")[0]
    assert engine.who == [{"username": "AWS", "password": "secret", "serveraddress": host}]


@pytest.mark.parametrize("act", [pulled, pushed])
def test_a_password_that_has_expired_is_asked_for_once_more(act: Callable[[Registry, EngineThatSays], object]) -> None:
    forgotten = list[bool]()
    registry = Registry(REPOSITORY, secret, lambda: forgotten.append(True))
    assert act(registry, EngineThatSays(EXPIRED))
    assert not act(registry, EngineThatSays(EXPIRED, EXPIRED))
    assert len(forgotten) == 2


def test_who_comes_second_with_the_same_tag_is_not_in_trouble() -> None:
    """ECR's tags are immutable."""
    registry = Registry(REPOSITORY, secret)
    taken = "tag invalid: The image tag 'key' already exists and cannot be overwritten because the tag is immutable."
    assert pushed(registry, EngineThatSays(taken))
    assert pulled(registry, EngineThatSays())


def test_an_image_that_is_not_there_is_no_trouble_and_anything_else_gives_the_registry_a_rest() -> None:
    now = [0.0]
    registry = Registry(REPOSITORY, secret, clock=lambda: now[0])
    assert pulled(registry, EngineThatSays("manifest unknown: Requested image not found")) is None
    assert pulled(registry, EngineThatSays())
    assert pulled(registry, EngineThatSays("connection refused")) is None
    engine = EngineThatSays()
    assert pulled(registry, engine) is None
    assert not pushed(registry, engine)
    assert engine.who == []
    now[0] = REST + 1
    assert pulled(registry, engine)


def test_without_a_password_nothing_is_asked() -> None:
    def no_password() -> tuple[str, str]:
        raise CloudError("AccessDenied", "no")

    engine = EngineThatSays()
    assert pulled(Registry(REPOSITORY, no_password), engine) is None
    assert not pushed(Registry(REPOSITORY, no_password), engine)
    assert engine.who == []
