"""OpenSSH's own client against an instance of the local cloud."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.orca.run.ports import free_port
from tests.fixtures.cloud import Cloud, wait_until

pytest_plugins = ["tests.fixtures.cloud"]
pytestmark = pytest.mark.cloud


class Client:
    """ssh, scp and sftp with a key of their own."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self.cloud = cloud
        self.key = folder / "key"
        self.known_hosts = folder / "known_hosts"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        self.ec2 = cloud.client("ec2")
        script = f"""#!/bin/sh
mkdir -p /home/analyst/.ssh
echo '{self.key.with_suffix(".pub").read_text().strip()}' > /home/analyst/.ssh/authorized_keys
chown -R analyst /home/analyst/.ssh; chmod 700 /home/analyst/.ssh
echo "host key $(cat /etc/ssh/ssh_host_ed25519_key.pub)"
echo $$ > /run/first
exec sleep 3600
"""
        run = self.ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1, UserData=script)
        self.instance = run["Instances"][0]["InstanceId"]
        self.address = run["Instances"][0]["PublicIpAddress"]
        wait_until(lambda: "host key" in self.console(), what="the boot")

    def console(self) -> str:
        return str(self.ec2.get_console_output(InstanceId=self.instance).get("Output", ""))

    def options(self, port: str = "-p", key: Path | None = None) -> list[str]:
        strict = ["-o", "StrictHostKeyChecking=accept-new", "-o", f"UserKnownHostsFile={self.known_hosts}"]
        quiet = ["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5"]
        return ["-F", "none", "-i", str(key or self.key), port, str(self.cloud.ssh_port), *strict, *quiet]

    def ssh(
        self, *command: str, user: str = "analyst", key: Path | None = None, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ssh", *self.options(key=key), f"{user}@{self.address}", *command],
            input=text,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    def run(self, *command: str) -> str:
        done = subprocess.run(list(command), capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def client(local_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    made = Client(local_cloud, tmp_path_factory.mktemp("ssh"))
    yield made
    made.ec2.terminate_instances(InstanceIds=[made.instance])


def test_a_command_runs_as_analyst_among_the_instance_s_files_and_processes(client: Client) -> None:
    began = time.monotonic()
    done = client.ssh("id -un; pwd; cat /run/first; ps -o comm= -p $(cat /run/first); env; exit 7")
    assert time.monotonic() - began < 2
    assert done.returncode == 7, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:4] == ["analyst", "/home/analyst", "2", "sleep"]
    variables = dict(line.split("=", 1) for line in lines[4:] if "=" in line)
    assert variables["AWS_ENDPOINT_URL"] == client.cloud.endpoint
    assert variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"].startswith(f"http://{client.address}:")
    assert variables["HOME"] == "/home/analyst"


def test_what_root_owns_is_closed_to_analyst(client: Client) -> None:
    done = client.ssh("cat /etc/orca/agent.json; ls /root; kill -9 2; cat /proc/1/environ; true")
    assert done.stdout == ""
    assert done.stderr.count("ermi") + done.stderr.count("denied") >= 3
    assert client.ssh("echo alive; ps -o comm= -p 2").stdout == "alive\nsleep\n"


def test_input_output_and_errors_each_go_their_own_way(client: Client) -> None:
    text = "".join(f"line {number}\n" for number in range(20000))
    done = client.ssh("cat; echo problem >&2", text=text)
    assert done.stdout == text
    assert done.stderr == "problem\n"


def test_the_host_key_is_the_one_that_the_console_shows_and_stays(client: Client) -> None:
    scanned = client.run("ssh-keyscan", "-t", "ed25519", "-p", str(client.cloud.ssh_port), client.address)
    key = scanned.split()[-1]
    assert key in client.console()


@pytest.mark.parametrize("user", ["root", "nobody", "analyst"])
def test_nobody_else_gets_in(client: Client, tmp_path: Path, user: str) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    done = client.ssh("true", user=user, key=other if user == "analyst" else None)
    assert done.returncode == 255
    assert "Permission denied" in done.stderr


def test_a_key_that_is_taken_away_opens_no_more(client: Client, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    public = other.with_suffix(".pub").read_text().strip()
    client.ssh(f"echo 'not a key at all' >> .ssh/authorized_keys; echo '{public}' >> .ssh/authorized_keys")
    assert client.ssh("echo in", key=other).stdout == "in\n"
    client.ssh("sed -i '$d' .ssh/authorized_keys")
    assert client.ssh("echo in", key=other).returncode == 255


def test_files_go_both_ways_by_either_kind_of_scp(client: Client, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    source = tmp_path / "source.bin"
    source.write_bytes(content)
    for legacy in ([], ["-O"]):
        options = [*legacy, *client.options("-P")]
        client.run("scp", *options, str(source), f"analyst@{client.address}:sub-dir.bin")
        back = tmp_path / f"back{len(legacy)}"
        client.run("scp", *options, f"analyst@{client.address}:/home/analyst/sub-dir.bin", str(back))
        assert back.read_bytes() == content
    assert client.ssh("stat -c %U sub-dir.bin").stdout == "analyst\n"


def test_sftp_sees_the_instance_and_not_this_machine(client: Client, tmp_path: Path) -> None:
    batch = tmp_path / "batch"
    (tmp_path / "up.txt").write_text("up")
    batch.write_text(
        f"put {tmp_path}/up.txt\nmkdir folder\nrename up.txt folder/there.txt\nls -1 folder\npwd\nls -1 /\n"
    )
    out = client.run("sftp", "-b", str(batch), *client.options("-P"), f"analyst@{client.address}")
    assert "folder/there.txt" in out
    assert "Remote working directory: /home/analyst" in out
    repository = Path(__file__).resolve().parents[2]
    batch.write_text(f"-ls {repository}\n-ls {client.cloud.data}\n-put {tmp_path}/up.txt /etc/passwd\n")
    done = subprocess.run(
        ["sftp", "-b", str(batch), *client.options("-P"), f"analyst@{client.address}"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stderr.count("not found") + done.stderr.count("ermission denied") >= 3, done.stderr


def test_a_shell_has_a_terminal_of_the_right_size(client: Client) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 41, 137, 0, 0))
    shell = subprocess.Popen(
        ["ssh", *client.options(), f"analyst@{client.address}"], stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    seen = b""

    def until(text: bytes) -> None:
        nonlocal seen
        end = time.monotonic() + 40
        while text not in seen and time.monotonic() < end:
            if select.select([master], [], [], 0.2)[0]:
                seen += os.read(master, 4096)
        assert text in seen, seen

    until(b"$ ")
    os.write(master, b"stty size; tty; echo shell=$((40+2))\n")
    until(b"shell=42")
    assert b"41 137" in seen
    assert b"/dev/pts/" in seen
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 99, 0, 0))
    shell.send_signal(signal.SIGWINCH)
    os.write(master, b"sleep 3; stty size; echo resized=$((40+3))\n")
    until(b"resized=43")
    assert b"50 99" in seen
    os.write(master, b"sleep 500\n")
    until(b"sleep 500")
    seen = b""
    os.write(master, b"\x03")
    # What is typed before the next prompt may be thrown away with the interrupt.
    until(b"$ ")
    os.write(master, b"exit 5\n")
    assert shell.wait(10) == 5
    os.close(master)


def test_hanging_up_ends_what_runs_on_the_terminal(client: Client) -> None:
    shell = subprocess.Popen(
        ["ssh", "-tt", *client.options(), f"analyst@{client.address}", "exec -a mark-4711 sleep 600"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: "mark-4711" in client.ssh("ps -eo args").stdout, what="the command")
    shell.kill()
    shell.wait()
    assert shell.stdin is not None
    shell.stdin.close()
    wait_until(lambda: "mark-4711 " not in client.ssh("ps -eo args").stdout, what="its end")


def test_a_port_of_the_instance_can_be_forwarded(client: Client) -> None:
    inner, outer = free_port(), free_port()
    tunnel = subprocess.Popen(
        [
            *("ssh", *client.options(), "-L", f"{outer}:127.0.0.1:{inner}", f"analyst@{client.address}"),
            f"echo from inside > index.txt; exec python3 -m http.server --bind 127.0.0.1 {inner}",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def fetch() -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", outer), 2) as connection:
                connection.sendall(b"GET /index.txt HTTP/1.0\r\n\r\n")
                return connection.makefile("rb").read()
        except OSError:
            return b""

    try:
        assert b"from inside" in wait_until(fetch, what="the forwarded page")
    finally:
        tunnel.kill()
        tunnel.wait()
        client.ssh("pkill -f http.server")


def test_a_stopped_instance_refuses_connections_and_keeps_the_home(client: Client) -> None:
    client.ssh("echo kept > note")
    client.ec2.stop_instances(InstanceIds=[client.instance])

    def describe() -> dict[str, Any]:
        found: dict[str, Any] = client.ec2.describe_instances(InstanceIds=[client.instance])
        one: dict[str, Any] = found["Reservations"][0]["Instances"][0]
        return one

    wait_until(lambda: describe()["State"]["Name"] == "stopped", what="the stop")
    refused = client.ssh("true")
    assert refused.returncode == 255
    assert "Connection refused" in refused.stderr
    client.ec2.start_instances(InstanceIds=[client.instance])
    wait_until(lambda: describe()["State"]["Name"] == "running", what="the start")
    assert describe()["PublicIpAddress"] == client.address
    # The same host key too: ssh would refuse another one.
    assert client.ssh("cat note").stdout == "kept\n"
