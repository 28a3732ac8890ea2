"""The OpenSSH client against the instance: in with a key that is added, out when it is removed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.orca.bench.installation import Lab
from tests.fixtures.cloud import wait_until

pytestmark = pytest.mark.cloud


class Login:
    """A key pair of a person, and where to go with it."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.address = lab.person.get(f"workspaces/{lab.workspace}/")["ssh"]
        (folder / "known_hosts").write_text("\n".join(self.address["known_hosts"]) + "\n")
        self.options = [
            "-i",
            str(self.key),
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "BatchMode=yes",
            "-o",
            f"UserKnownHostsFile={folder / 'known_hosts'}",
        ]
        self.target = f"{self.address['user']}@{self.address['host']}"

    def ssh(self, command: str) -> subprocess.CompletedProcess[str]:
        port = ["-p", str(self.address["port"])]
        return subprocess.run(
            ["ssh", *self.options, *port, self.target, command],
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def scp(self, *paths: str) -> None:
        subprocess.run(["scp", "-q", *self.options, "-P", str(self.address["port"]), *paths], check=True, timeout=30)


@pytest.fixture
def login(lab: Lab, tmp_path: Path) -> Iterator[Login]:
    login = Login(lab, tmp_path)
    added = lab.person.post("ssh-keys/", {"name": "test", "public_key": login.key.with_suffix(".pub").read_text()})
    wait_until(lambda: login.ssh("true").returncode == 0, 10, "the key's way to the instance")
    yield login
    lab.person.ask("DELETE", f"ssh-keys/{added['id']}/")


def test_the_host_is_known_and_the_shell_is_the_analysts(login: Login) -> None:
    assert login.ssh("whoami; pwd").stdout.split() == ["analyst", "/home/analyst"]


def test_a_key_that_is_removed_stops_working(lab: Lab, tmp_path: Path) -> None:
    login = Login(lab, tmp_path)
    assert login.ssh("true").returncode == 255
    added = lab.person.post("ssh-keys/", {"name": "brief", "public_key": login.key.with_suffix(".pub").read_text()})
    wait_until(lambda: login.ssh("true").returncode == 0, 10, "the key's way to the instance")
    lab.person.ask("DELETE", f"ssh-keys/{added['id']}/")
    wait_until(lambda: login.ssh("true").returncode == 255, 10, "the key's end")


def test_files_go_both_ways(login: Login, tmp_path: Path) -> None:
    sent = tmp_path / "sent.bin"
    sent.write_bytes(bytes(range(256)) * 1000)
    login.scp(str(sent), f"{login.target}:there.bin")
    login.scp(f"{login.target}:there.bin", str(tmp_path / "back.bin"))
    assert (tmp_path / "back.bin").read_bytes() == sent.read_bytes()


def test_the_portals_own_files_are_out_of_sight(login: Login, lab: Lab) -> None:
    found = login.ssh("ls /work /root 2>&1; ls / | tr '\\n' ' '; cat /etc/orca/agent.json").stdout
    assert "orca.env" not in found
    assert "signing_key" not in found
