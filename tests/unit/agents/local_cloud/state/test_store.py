"""Backends are on disk when they are said to be, cheap ones at once, expensive ones together."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.ec2.models import ec2_backends
from moto.ecs.models import ecs_backends

from agents.local_cloud.state import store as store_module
from agents.local_cloud.state.store import Store

ACCOUNT, REGION = "100000000001", "eu-central-1"


@pytest.fixture
def locks() -> dict[str, Any]:
    return {}


@pytest.fixture
def store(tmp_path: Path, locks: dict[str, Any]) -> Store:
    return Store(tmp_path, lambda name: locks.setdefault(name, threading.RLock()))


@pytest.fixture
def cluster() -> Iterator[str]:
    """A cluster in a fresh backend; its name."""
    name = uuid.uuid4().hex
    ecs_backends[ACCOUNT].pop(REGION, None)
    backend: Any = ecs_backends[ACCOUNT][REGION]
    backend.create_cluster(name)
    yield name
    ecs_backends[ACCOUNT].pop(REGION, None)


def forget() -> None:
    for backends in (ecs_backends, ec2_backends):
        backends[ACCOUNT].pop(REGION, None)


def clusters() -> list[str]:
    backend: Any = ecs_backends[ACCOUNT][REGION]
    return list(backend.clusters)


def test_a_cheap_backend_is_on_disk_at_once(store: Store, cluster: str) -> None:
    assert store.changed("ecs", ACCOUNT, REGION) == 0
    forget()
    assert store.restore() == [("ecs", ACCOUNT, REGION)]
    assert clusters() == [cluster]


def test_an_expensive_one_is_there_when_its_round_is_over(
    store: Store, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "PROMPT_SECONDS", -1.0)
    number = store.changed("ecs", ACCOUNT, REGION)
    assert number > 0
    store.wait(number)
    forget()
    store.restore()
    assert clusters() == [cluster]


def test_a_round_waits_for_whoever_works_on_the_backend(
    store: Store, cluster: str, locks: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "PROMPT_SECONDS", -1.0)
    locks["ecs"] = lock = threading.RLock()
    over = threading.Event()
    with lock:
        number = store.changed("ecs", ACCOUNT, REGION)

        def wait() -> None:
            store.wait(number)
            over.set()

        threading.Thread(target=wait, daemon=True).start()
        assert not over.wait(0.2)
    assert over.wait(5)


def test_ec2_comes_back_with_its_images_which_are_written_once(store: Store, tmp_path: Path) -> None:
    forget()
    backend: Any = ec2_backends[ACCOUNT][REGION]
    images = set(backend.amis)
    store.changed("ec2", ACCOUNT, REGION)
    aside = tmp_path / "ec2" / ACCOUNT / f"{REGION}.aside"
    first = aside.stat().st_mtime_ns
    vpc = backend.create_vpc("10.9.0.0/16").id
    store.changed("ec2", ACCOUNT, REGION)
    assert aside.stat().st_mtime_ns == first
    assert aside.stat().st_size > 10 * aside.with_suffix(".pickle").stat().st_size
    forget()
    store.restore()
    again: Any = ec2_backends[ACCOUNT][REGION]
    assert again is not backend
    assert set(again.amis) == images
    assert vpc in again.vpcs
    assert all(image.ec2_backend is again for image in again.amis.values())
    forget()


def test_what_cannot_be_written_is_said_once_and_stops_nothing(
    store: Store, cluster: str, capsys: pytest.CaptureFixture[str]
) -> None:
    backend: Any = ecs_backends[ACCOUNT][REGION]
    backend.generator = (number for number in range(3))
    for _ in range(2):
        assert store.changed("ecs", ACCOUNT, REGION) == 0
    assert capsys.readouterr().err.count("cannot be kept") == 1
