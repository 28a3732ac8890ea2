"""Images on their way from one instance of a workspace to another."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from collections.abc import Iterator
from typing import Any

from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.steps.container_registry import Registry, digest_key

REPOSITORY = "100000000001.dkr.ecr.eu-central-1.amazonaws.com/orca-x"


class Answer(io.BytesIO):
    """What an engine says, line by line."""


class EngineWithImages:
    """Pulls what ``far`` holds; notes what was pushed."""

    def __init__(self, *far: str, says: bytes = b'{"status": "done"}\n') -> None:
        self.far, self.here, self.says = set(far), set[str](), says
        self.pushed: list[str] = []
        self.who: list[dict[str, str]] = []

    @contextlib.contextmanager
    def stream(self, method: str, path: str, query: dict[str, str], **more: Any) -> Iterator[Answer]:
        self.who.append(json.loads(base64.urlsafe_b64decode(more["headers"]["X-Registry-Auth"])))
        if path.endswith("/push"):
            self.pushed.append(query["tag"])
        elif query["tag"] in self.far:
            self.here.add(f"{query['fromImage']}:{query['tag']}")
        yield Answer(self.says)

    def call(self, method: str, path: str, query: dict[str, str]) -> None:
        assert path.endswith("/tag")

    def image(self, name: str) -> dict[str, str] | None:
        return {"Id": "x"} if name in self.here else None


def registry() -> Registry:
    return Registry(REPOSITORY, lambda: ("AWS", "secret"))


def test_an_image_is_pulled_where_it_was_pushed() -> None:
    engine: Any = EngineWithImages("key")
    assert registry().pull(engine, "key", lambda: None) == f"{REPOSITORY}:key"
    assert registry().pull(engine, "other", lambda: None) is None
    host = REPOSITORY.partition("/")[0]
    assert engine.who[0] == {"username": "AWS", "password": "secret", "serveraddress": host}


def test_an_image_is_pushed_under_its_key() -> None:
    engine: Any = EngineWithImages()
    registry().push(engine, "orca/build:key", "key", lambda: None)
    assert engine.pushed == ["key"]


def test_nothing_depends_on_the_registry() -> None:
    engine: Any = EngineWithImages("key", says=b'{"error": "denied"}\n')
    assert registry().pull(engine, "key", lambda: None) is None
    registry().push(engine, "orca/build:key", "key", lambda: None)

    def no_password() -> tuple[str, str]:
        raise CloudError("AccessDenied", "no")

    assert Registry(REPOSITORY, no_password).pull(engine, "key", lambda: None) is None


def test_an_image_is_found_by_its_id() -> None:
    assert digest_key("sha256:abc") == "sha256-abc"
