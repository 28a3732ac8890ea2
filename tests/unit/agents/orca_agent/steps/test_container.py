"""How a step is closed in, whatever its image and its owner say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.orca_agent.account import Account
from agents.orca_agent.layout import Layout
from agents.orca_agent.orders import Container
from agents.orca_agent.steps import container
from agents.orca_agent.steps.container import Containers, create_body
from agents.orca_agent.steps.container_image import Image, Images, Site
from agents.orca_agent.steps.container_registry import Registry
from agents.orca_agent.steps.engine import Engine
from agents.orca_agent.steps.failure import StepFailed
from agents.orca_agent.steps.process import Order

STEP = Path("/var/lib/orca/work/step-1-abcd")
SECRETS = Path("/run/orca/secrets/step-1-abcd")


def body(environment: dict[str, str] | None = None, *, volumes: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    order = Order(
        argv=["python3", "main.py"],
        environment=environment or {"ORCA_OUTPUT": f"{STEP}/script/output"},
        folder=STEP / "script",
        account=Account("container", 1000, 1000, Path("/tmp")),
        seconds=10,
        memory_mb=512,
        processes=20,
        all_processes=100,
        file_mb=100,
    )
    image = Image("sha256:" + "a" * 64, volumes)
    return create_body(image, order, {}, own=(STEP, SECRETS), **{"network": False, "cpus": 0.5, **more})


def mounts(made: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    return {mount["Target"]: (mount["Source"], mount["ReadOnly"]) for mount in made["HostConfig"]["Mounts"]}


def test_nobody_is_root_and_nothing_can_be_gained() -> None:
    made = body()
    host = made["HostConfig"]
    assert made["User"] == "1000:1000"
    assert (host["CapDrop"], host["SecurityOpt"], host["Privileged"]) == (["ALL"], ["no-new-privileges"], False)
    assert host["ReadonlyRootfs"] is True
    assert host["Memory"] == host["MemorySwap"] == 512 * 2**20
    assert 20 < host["PidsLimit"] < 40
    assert host["NanoCpus"] == 500_000_000
    assert (host["NetworkMode"], made["NetworkDisabled"]) == ("none", True)
    assert host["RestartPolicy"] == {"Name": "no"}


def test_the_network_is_there_when_asked_for() -> None:
    made = body(network=True)
    assert (made["HostConfig"]["NetworkMode"], made["NetworkDisabled"]) == ("bridge", False)


def test_folders_of_the_step_are_mounted_and_named_anew() -> None:
    made = body(
        {
            "ORCA_OUTPUT": f"{STEP}/script/output",
            "ORCA_INPUT": f"{STEP}/input",
            "ORCA_SECRETS": str(SECRETS),
            "TMPDIR": f"{STEP}/tmp",
            "MINE": "1",
        }
    )
    assert mounts(made) == {
        "/work": (f"{STEP}/script", True),
        "/work/output": (f"{STEP}/script/output", False),
        "/output": (f"{STEP}/script/output", False),
        "/input": (f"{STEP}/input", True),
        "/secrets": (str(SECRETS), True),
    }
    expected = {"ORCA_OUTPUT=/output", "ORCA_INPUT=/input", "ORCA_SECRETS=/secrets", "TMPDIR=/tmp", "MINE=1"}
    assert set(made["Env"]) == expected


def test_a_folder_that_the_owner_has_named_is_only_a_text() -> None:
    for path in ("/etc", f"{STEP}/../other/input", "/run/orca/secrets/other", "relative", ""):
        made = body({"ORCA_INPUT": path, "ORCA_OUTPUT": f"{STEP}/script/output"})
        assert "/input" not in mounts(made)
        assert f"ORCA_INPUT={path}" in made["Env"]


def test_volumes_become_small_and_do_not_hide_what_is_ours() -> None:
    made = body(volumes=("/cache", "/output", "/work", "/tmp/"))
    assert set(made["HostConfig"]["Tmpfs"]) == {"/tmp", "/cache"}
    assert "size=16m" in made["HostConfig"]["Tmpfs"]["/cache"]


def site(said: list[str], check: Callable[[], None]) -> Site:
    return Site(Path("/nowhere"), 512, said.append, lambda stream, data: None, check)


def test_an_engine_that_is_being_installed_is_waited_for(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.create()
    layout.engine_coming.touch()
    said: list[str] = []
    with pytest.raises(StepFailed, match="no container engine") as raised:
        Containers(lambda: None, layout).prepare(
            Container(image="orca/python"), site(said, layout.engine_coming.unlink)
        )
    assert raised.value.reason == "container_unavailable"
    assert "being installed" in said[0]


def test_heartbeats_say_whether_there_is_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [False]
    monkeypatch.setattr(Engine, "answers", lambda self: answers[0])
    monkeypatch.setattr(container, "STATE_HOLDS", 0.0)
    layout = Layout(tmp_path)
    layout.create()
    containers = Containers(lambda: "/somewhere", layout)
    assert (containers.state(), Containers(lambda: None, layout).state()) == ("none", "none")
    layout.engine_coming.touch()
    assert containers.state() == "coming"
    layout.engine_coming.unlink()
    answers[0] = True
    assert containers.state() == "ready"


def test_the_registry_is_known_when_the_settings_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "answers", lambda self: True)
    monkeypatch.setattr(Engine, "containers", lambda self, label: [])
    seen: list[object] = []
    monkeypatch.setattr(Images, "find_or_make", lambda self, container, site: seen.append(self.registry))
    layout = Layout(tmp_path)
    layout.create()
    containers = Containers(lambda: "/somewhere", layout)
    containers.clean_up()
    containers.registry = Registry("here/orca-x", lambda: ("AWS", "secret"))
    containers.prepare(Container(image="orca/python"), site([], lambda: None))
    assert seen == [containers.registry]


def test_what_an_earlier_agent_has_left_is_removed_and_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, removed = list[str](), list[str]()
    monkeypatch.setattr(Engine, "answers", lambda self: True)

    def left(self: Engine, label: str) -> list[str]:
        asked.append(label)
        return ["left"]

    monkeypatch.setattr(Engine, "containers", left)
    monkeypatch.setattr(Engine, "remove", lambda self, container: removed.append(container))
    layout = Layout(tmp_path)
    layout.create()
    Containers(lambda: "/somewhere", layout).clean_up()
    Containers(lambda: "/somewhere", layout).clean_up()
    assert removed == ["left", "left"]
    assert asked[0] == asked[1] == f"orca.owner={layout.owner.read_text()}"
