"""Which image a step gets: when it is built, what it is built from, and what counts as the same."""

from __future__ import annotations

import io
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from agents.orca_agent.orders import Container
from agents.orca_agent.steps import container_build
from agents.orca_agent.steps.container_build import Built, Job
from agents.orca_agent.steps.container_image import Image, Images, Site, build_key
from agents.orca_agent.steps.engine import EngineError
from agents.orca_agent.steps.failure import StepFailed

BASE = "sha256:" + "b" * 64


class Shelf:
    """Images by name and id, in the place of an engine."""

    def __init__(self) -> None:
        self.images: dict[str, dict[str, Any]] = {}
        self.add("orca/python", BASE)

    def add(self, name: str, image_id: str, **config: Any) -> None:
        self.images[name] = self.images[image_id] = {"Id": image_id, "Config": config}

    def image(self, name: str) -> dict[str, Any] | None:
        return self.images.get(name)

    def call(self, *asked: object) -> list[object]:
        return []


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> tuple[Shelf, list[Job]]:
    """The engine, and what was built on it."""
    shelf, built = Shelf(), list[Job]()

    def build(engine: Shelf, job: Job, **more: Any) -> Built:
        built.append(job)
        engine.add(job.tag, f"sha256:{len(built):064x}")
        return Built("", [])

    monkeypatch.setattr(container_build, "build", build)
    return shelf, built


def site(folder: Path, said: list[str] | None = None) -> Site:
    say = said.append if said is not None else lambda text: None
    return Site(folder, 512, say, lambda stream, data: None, lambda: None)


def bundle(folder: Path, dockerfile: str, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    for name, content in files.items():
        (folder / f"{name}.txt").write_text(content)
    return folder


def images(shelf: Shelf) -> Images:
    engine: Any = shelf
    return Images(engine)


def test_the_key_changes_with_whatever_changes_the_image() -> None:
    first = build_key("FROM a", "1", {"a": "x"}, network=False)
    assert first == build_key("FROM a", "1", {"a": "x"}, network=False)
    others = {
        build_key("FROM b", "1", {"a": "x"}, network=False),
        build_key("FROM a", "2", {"a": "x"}, network=False),
        build_key("FROM a", "1", {"a": "y"}, network=False),
        build_key("FROM a", "1", {"a": "x"}, network=True),
    }
    assert len(others | {first}) == 5


def test_what_was_built_is_not_built_again(tmp_path: Path, shelf: tuple[Shelf, list[Job]]) -> None:
    engine, built = shelf
    store, wanted = images(engine), Container(dockerfile="Dockerfile")
    first = store.find_or_make(wanted, site(bundle(tmp_path / "1", "FROM orca/python\n", main="one")))
    second = store.find_or_make(wanted, site(bundle(tmp_path / "2", "FROM orca/python\n", main="two")))
    assert (first, len(built)) == (second, 1)
    copies = "FROM orca/python\nCOPY . /\n"
    store.find_or_make(wanted, site(bundle(tmp_path / "3", copies, main="one")))
    store.find_or_make(wanted, site(bundle(tmp_path / "4", copies, main="two")))
    assert len(built) == 3
    engine.add("orca/python", "sha256:" + "c" * 64)
    store.find_or_make(wanted, site(bundle(tmp_path / "1", "FROM orca/python\n", main="one")))
    assert len(built) == 4


def test_steps_that_want_the_same_image_build_it_once(
    tmp_path: Path, shelf: tuple[Shelf, list[Job]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, built = shelf
    real, slow = container_build.build, threading.Event()

    def build(*args: Any, **more: Any) -> Built:
        slow.wait(0.3)
        return real(*args, **more)

    monkeypatch.setattr(container_build, "build", build)
    store, folder = images(engine), bundle(tmp_path / "1", "FROM orca/python\n")
    found: list[Image] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(store.find_or_make(Container(dockerfile="Dockerfile"), site(folder)))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (len(found), len(set(found)), len(built)) == (4, 1, 1)


def test_a_pinned_image_is_taken_while_it_is_there(tmp_path: Path, shelf: tuple[Shelf, list[Job]]) -> None:
    engine, built = shelf
    pinned, said = "sha256:" + "d" * 64, list[str]()
    folder = bundle(tmp_path / "1", "FROM orca/python\n")
    wanted = Container(dockerfile="Dockerfile", pinned=pinned)
    found = images(engine).find_or_make(wanted, site(folder, said))
    assert found.id != pinned
    assert "is not on this instance any more" in said[-1]
    engine.add("old", pinned)
    assert images(engine).find_or_make(wanted, site(folder)).id == pinned
    assert len(built) == 1


def test_a_dockerfile_that_is_not_there_or_wants_too_much(tmp_path: Path, shelf: tuple[Shelf, list[Job]]) -> None:
    engine, _ = shelf
    with pytest.raises(StepFailed, match="no file 'Dockerfile'") as raised:
        images(engine).find_or_make(Container(dockerfile="Dockerfile"), site(tmp_path))
    assert raised.value.reason == "build_failed"
    engine.add("greedy", "sha256:" + "e" * 64, Volumes={f"/v{number}": {} for number in range(21)})
    with pytest.raises(StepFailed, match="21 volumes"):
        images(engine).find_or_make(Container(image="greedy"), site(tmp_path))


def test_an_image_that_cannot_be_fetched_is_named(
    tmp_path: Path, shelf: tuple[Shelf, list[Job]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pull(*args: Any, **more: Any) -> None:
        raise EngineError("no route to host")

    monkeypatch.setattr(container_build, "pull", pull)
    with pytest.raises(StepFailed, match=r"The image other/thing .* no route to host") as raised:
        images(shelf[0]).find_or_make(Container(image="other/thing"), site(tmp_path))
    assert raised.value.reason == "image_unavailable"


def test_the_context_is_the_bundle_without_times_and_outputs(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "1", "FROM a\n", data="x")
    (folder / "output").mkdir()
    (folder / "output/y").write_text("y")
    whole, alone = io.BytesIO(), io.BytesIO()
    container_build.write_context(folder, "Dockerfile", whole, whole=True)
    container_build.write_context(folder, "Dockerfile", alone, whole=False)
    whole.seek(0)
    with tarfile.open(fileobj=whole) as tar:
        assert tar.getnames() == ["Dockerfile", "data.txt"]
        assert {member.mtime for member in tar} == {0}
    alone.seek(0)
    with tarfile.open(fileobj=alone) as tar:
        assert tar.getnames() == ["Dockerfile"]


def test_an_image_of_orcas_own_is_made_and_never_pulled(
    tmp_path: Path, shelf: tuple[Shelf, list[Job]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pull(*args: Any, **more: Any) -> None:
        raise AssertionError("a stranger may have given that name to anything")

    monkeypatch.setattr(container_build, "pull", pull)
    engine, built = shelf
    with pytest.raises(StepFailed, match="Orca has no image orca/ruby"):
        images(engine).find_or_make(Container(image="orca/ruby"), site(tmp_path))
    said: list[str] = []
    made = images(engine).find_or_make(Container(image="orca/shell"), site(tmp_path, said))
    assert (len(built), built[0].network, built[0].tag) == (1, True, "orca/build:shell")
    assert engine.image("orca/build:shell") == {"Id": made.id, "Config": {}}
    assert said == ["Making the image orca/shell …"]
