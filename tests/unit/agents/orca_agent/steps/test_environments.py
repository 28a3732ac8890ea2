"""An environment is built once for those who want the same, and only a complete one is used."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from agents.orca_agent.account import Account
from agents.orca_agent.steps import environments
from agents.orca_agent.steps.environments import COMPLETE, EnvironmentStore, build, environment_key
from agents.orca_agent.steps.failure import StepFailed, StepStopped


@pytest.fixture
def store(tmp_path: Path) -> EnvironmentStore:
    return EnvironmentStore(tmp_path, Account("me", None, None, tmp_path))


def nothing() -> None:
    return


def test_the_key_follows_what_is_listed() -> None:
    assert environment_key(b"six\n", "a") == environment_key(b"six\r\n", "b")
    assert environment_key(b"six\n", "a") != environment_key(b"six==1\n", "a")


@pytest.mark.parametrize("line", [b"-r other.txt", b"./wheel.whl", b"-e .", b"x @ file:x.whl", b"  --constraint c"])
def test_a_list_that_refers_to_other_files_counts_the_bundle(line: bytes) -> None:
    assert environment_key(b"six\n" + line, "a") != environment_key(b"six\n" + line, "b")


def test_of_many_that_want_the_same_one_builds(store: EnvironmentStore) -> None:
    built, used, all_wait = [], [], threading.Barrier(4)

    def make(folder: Path) -> None:
        built.append(folder)

    def use() -> None:
        all_wait.wait()
        with store.hold("key", make, nothing) as folder:
            used.append((folder / COMPLETE).exists())

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(built), used) == (1, [True] * 4)


def test_a_failed_build_leaves_nothing_and_the_next_one_tries_again(store: EnvironmentStore, tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise StepFailed("requirements_failed", "no")

    with pytest.raises(StepFailed), store.hold("key", fail, nothing):
        pytest.fail("it was used")
    assert not (tmp_path / "key").exists()
    with store.hold("key", lambda folder: None, nothing) as folder:
        assert folder == tmp_path / "key"


def test_one_who_waits_can_be_stopped(store: EnvironmentStore) -> None:
    building, go_on = threading.Event(), threading.Event()

    def make(folder: Path) -> None:
        building.set()
        assert go_on.wait(10)

    def use() -> None:
        with store.hold("key", make, nothing):
            pass

    def stop() -> None:
        raise StepStopped("cancelled")

    builder = threading.Thread(target=use)
    builder.start()
    assert building.wait(10)
    with pytest.raises(StepStopped), store.hold("key", make, stop):
        pytest.fail("it was used")
    go_on.set()
    builder.join()


def test_what_a_killed_agent_was_building_is_removed(store: EnvironmentStore, tmp_path: Path) -> None:
    for name in ("whole", "half"):
        (tmp_path / name).mkdir()
    (tmp_path / "whole" / COMPLETE).touch()
    store.remove_unfinished()
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_the_least_used_make_room_but_never_one_in_use(
    store: EnvironmentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "KEPT", 2)
    with store.hold("first", lambda folder: None, nothing):
        for name in ("second", "third", "fourth"):
            with store.hold(name, lambda folder: None, nothing):
                pass
        assert (tmp_path / "first").exists()
    assert len(list(tmp_path.iterdir())) == 3


def test_the_errors_of_pip_are_told(tmp_path: Path) -> None:
    ran: list[Sequence[str]] = []

    def run(argv: Sequence[str]) -> tuple[int, list[str]]:
        ran.append(argv)
        return (0, []) if "venv" in argv else (1, ["Collecting x", "ERROR: no matching distribution", ""])

    with pytest.raises(StepFailed) as caught:
        build(tmp_path / "e", tmp_path / "requirements.txt", run)
    assert caught.value.reason == "requirements_failed"
    assert caught.value.message.endswith("(pip ended with 1).\nERROR: no matching distribution")
    assert ran[1][0] == str(tmp_path / "e/bin/python")


def test_without_a_bundled_pip_the_environment_gets_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "bundled_pip", lambda: None)
    ran: list[list[str]] = []

    def run(argv: Sequence[str]) -> tuple[int, list[str]]:
        ran.append(list(argv))
        return 0, []

    build(tmp_path / "e", tmp_path / "requirements.txt", run)
    assert "--without-pip" not in ran[0]
    assert ran[1][1:4] == ["-m", "pip", "install"]
