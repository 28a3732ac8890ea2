"""What an instance of the local cloud may ask of the engine that it shares with others."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.local_cloud.instances.engine_rules import (
    Folders,
    Refused,
    check_build,
    check_pull,
    check_update,
    is_own,
    understand,
)

ID = "0123456789ab"
BUILD = {"t": "orca/build:x", "networkmode": "none", "shmsize": "67108864", "memory": "1"}


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/_ping", "ping"),
        ("POST", "/v1.41/build", "build"),
        ("POST", "/v1.41/containers/create", "create"),
        ("GET", "/images/orca/python:1/json", "image"),
        ("POST", f"/v1.41/containers/{ID}/start", "start"),
        ("DELETE", f"/containers/{ID}", "remove"),
    ],
)
def test_what_an_agent_needs_is_understood(method: str, path: str, kind: str) -> None:
    assert understand(method, path).kind == kind


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/info"),
        ("POST", "/v1.41/volumes/create"),
        ("POST", f"/containers/{ID}/exec"),
        ("PUT", f"/containers/{ID}/archive"),
        ("GET", f"/containers/{ID}/export"),
        ("POST", "/containers/some-name/start"),
        ("DELETE", "/images/orca/python"),
        ("POST", "/images/load"),
        ("GET", "/images/../containers/json"),
        ("POST", "/v1.41/v1.41/build"),
        ("POST", "/swarm/init"),
        ("GET", f"/containers/{ID}/json/../../x"),
    ],
)
def test_everything_else_is_refused(method: str, path: str) -> None:
    with pytest.raises(Refused):
        understand(method, path)


@pytest.mark.parametrize(
    "more",
    [
        {"remote": "http://x"},
        {"networkmode": "host"},
        {"networkmode": "container:abc"},
        {"t": "orca/python"},
        {"extrahosts": "a:1"},
        {"cgroupparent": "/"},
        {"shmsize": ""},
        {"memory": ""},
    ],
)
def test_a_build_has_limits_and_a_name(more: dict[str, str]) -> None:
    assert check_build(BUILD) == 67108864
    with pytest.raises(Refused):
        check_build({**BUILD, **more})


def test_an_image_comes_by_its_name_and_limits_are_only_lowered() -> None:
    check_pull({"fromImage": "debian", "tag": "1"})
    with pytest.raises(Refused):
        check_pull({"fromSrc": "http://x"})
    check_update({"PidsLimit": 1})
    with pytest.raises(Refused):
        check_update({"PidsLimit": 1, "Memory": 0})


def test_folders_are_found_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "work/step/script").mkdir(parents=True)
    (tmp_path / "work/link").symlink_to("/etc")
    (tmp_path / "work/file").write_text("")
    folders = Folders({"/var/lib/orca/work": tmp_path / "work"})
    assert folders.on_this_machine("/var/lib/orca/work/step/script") == tmp_path / "work/step/script"
    for path in ("/var/lib/orca/work", "/etc", "step", "", "/var/lib/orca/work/../x", "/var/lib/orca/work/link",
                 "/var/lib/orca/work/link/ssl", "/var/lib/orca/work/file", "/var/lib/orca/work/none"):  # fmt: skip
        with pytest.raises(Refused):
            folders.on_this_machine(path)


def test_own_is_what_was_started_or_is_being_built_here() -> None:
    def found(labels: dict[str, str] | None, size: int = 0) -> dict[str, object]:
        return {"Config": {"Labels": labels}, "HostConfig": {"ShmSize": size}}

    assert is_own(found({"orca.instance": "i-1"}), "i-1", set())
    assert not is_own(found({"orca.instance": "i-2"}, 7), "i-1", {7})
    assert is_own(found(None, 7), "i-1", {7})
    assert not is_own(found(None, 8), "i-1", {7})
