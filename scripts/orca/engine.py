"""A private Docker engine: data in a folder of its own, reachable by a Unix socket only, gone when it is stopped.

``python -m scripts.orca.engine`` keeps one running, with Orca's base images, and prints what to put into
``ORCA_DOCKER_HOST``.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.orca_agent.steps.engine import Engine, socket_path
from scripts.orca.console import ScriptError, say, step
from scripts.orca.throw_away import command_run, keep, not_started, server_start

_SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"])
_UP_WITHIN = 60
_STOPS_WITHIN = 30


def engine_find() -> str:
    """The socket of the engine that this machine runs, if one answers; else ""."""
    path = socket_path(os.environ)
    return path if path and Engine(path).answers() else ""


def engine_of_instances() -> str:
    """The same where instances of the embedded cloud can use it, which takes root and a sandbox; else ""."""
    return engine_find() if os.geteuid() == 0 and shutil.which("bwrap") else ""


@contextmanager
def engine() -> Iterator[str]:
    """The socket of an engine that lives as long as the context.

    Its containers reach this machine, and nothing beyond it: no rule of the machine's firewall is changed for them.
    """
    server = shutil.which("dockerd", path=_SEARCHED)
    if server is None:
        raise ScriptError("There is no Docker engine here.", "sudo apt-get install docker.io")
    if os.geteuid() != 0:
        raise ScriptError("Only root can start a Docker engine.", "Start one yourself and name it in ORCA_DOCKER_HOST.")
    with _folder() as folder, _bridge() as bridge:
        process = _start(server, folder, bridge)
        try:
            with step("A private Docker engine"):
                _await(process, folder)
            yield str(folder / "docker.sock")
        finally:
            process.terminate()
            try:
                process.wait(timeout=_STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _folder() -> Iterator[Path]:
    """A new one, removed afterwards by a process of its own: images are many files, and nobody waits for that."""
    folder = Path(tempfile.mkdtemp(prefix="orca-engine-"))
    try:
        yield folder
    finally:
        _unmount(folder)
        subprocess.Popen(
            ["rm", "-rf", "--one-file-system", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


@contextmanager
def _bridge() -> Iterator[str]:
    """A network of its own, so that engines side by side do not share one."""
    name, subnet = f"orca{secrets.token_hex(3)}", f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(256)}.1/24"
    command_run(["ip", "link", "add", name, "type", "bridge"])
    try:
        command_run(["ip", "address", "add", subnet, "dev", name])
        command_run(["ip", "link", "set", name, "up"])
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)


def _start(server: str, folder: Path, bridge: str) -> subprocess.Popen[bytes]:
    # ``--exec-root`` is short: containers' sockets lie in it.
    places = [f"--data-root={folder / 'data'}", f"--exec-root={folder / 'x'}", f"--pidfile={folder / 'pid'}"]
    network = [f"--bridge={bridge}", "--iptables=false", "--ip6tables=false", "--ip-masq=false", "--ip-forward=false"]
    command = [server, *places, *network, f"--host=unix://{folder / 'docker.sock'}"]
    return server_start(command, folder / "engine.log", environment={**os.environ, "PATH": _SEARCHED})


def _await(process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + _UP_WITHIN
    while not Engine(str(folder / "docker.sock")).answers():
        if process.poll() is not None or time.monotonic() > deadline:
            raise not_started("The Docker engine", folder / "engine.log")
        time.sleep(0.1)


def _unmount(folder: Path) -> None:
    """What an engine that was killed has left mounted."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for place in sorted((place for place in mounted if place.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "-l", place], capture_output=True, check=False)


def main() -> int:
    from scripts.orca.images import images_ensure

    def tell(path: str) -> None:
        images_ensure(Engine(path))
        say(f"ORCA_DOCKER_HOST=unix://{path}")

    return keep(engine(), tell, "Stop with Ctrl-C; its images go with it.")


if __name__ == "__main__":
    sys.exit(main())
