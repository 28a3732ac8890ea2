"""Steps in containers: the agent as a process, a Docker engine that the tests start, and programs that mean harm."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from agents.orca_agent.orders import Container
from agents.orca_agent.protocol import Desired, InstanceHeartbeat, Limits, StepFinished
from agents.orca_agent.steps.engine import Engine

if TYPE_CHECKING:
    from tests.fixtures.agent import MotoCloud
    from tests.fixtures.containers import AgentWith, Scene

pytest_plugins = ["tests.fixtures.agent", "tests.fixtures.engine", "tests.fixtures.containers"]

PYTHON = Container(image="orca/python")

LOOK = """
import json, os, pathlib, socket, sys
def tried(what):
    try:
        what()
    except OSError as error:
        return type(error).__name__
    return "done"
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
def reach(host, port):
    socket.create_connection((host, port), 2).close()
print(json.dumps({
    "ids": [os.getuid(), os.getgid()],
    "folder": os.getcwd(),
    "capabilities": [status[name].strip() for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")],
    "no_new_privileges": status["NoNewPrivs"].strip(),
    "seccomp": status["Seccomp"].strip(),
    "root": tried(lambda: pathlib.Path("/etc/x").write_text("x")),
    "work": tried(lambda: pathlib.Path("/work/main.py").write_text("x")),
    "tmp": tried(lambda: pathlib.Path("/tmp/x").write_text("x")),
    "output": tried(lambda: pathlib.Path(os.environ["ORCA_OUTPUT"], "x.txt").write_text("x")),
    "beside": tried(lambda: pathlib.Path("output/y.txt").write_text("y")),
    "metadata": tried(lambda: reach("169.254.169.254", 80)),
    "host": tried(lambda: reach(sys.argv[1], int(sys.argv[2]))),
    "interfaces": sorted(os.listdir("/sys/class/net")),
    "engine": [name for name in ("/run/docker.sock", "/var/run/docker.sock") if os.path.exists(name)],
    "environment": {name: value for name, value in os.environ.items() if "AWS" in name or "ORCA_" in name},
}))
"""


def seen(scene: Scene, container: Container) -> tuple[StepFinished, dict[str, Any]]:
    # The agent's cloud listens on the loopback, and the engine's own address is the way to this machine.
    gateway = scene.engine.call("GET", "/networks/bridge")["IPAM"]["Config"][0]["Gateway"]
    finished, lines = scene.run(LOOK, container, arguments=(gateway, "1"))
    assert finished.state == "succeeded", (finished.message, scene.events.seen[-5:])
    return finished, json.loads(lines[0])


def test_a_program_is_closed_in(scene: Scene) -> None:
    finished, found = seen(scene, PYTHON)
    assert found["ids"] == [1000, 1000]
    assert found["folder"] == "/work"
    assert set(found["capabilities"]) == {"0000000000000000"}
    assert (found["no_new_privileges"], found["seccomp"]) == ("1", "2")
    assert (found["root"], found["work"], found["tmp"]) == ("OSError", "OSError", "done")
    assert (found["output"], found["beside"]) == ("done", "done")
    assert {output.path for output in finished.outputs} == {"x.txt", "y.txt"}
    assert found["interfaces"] == ["lo"]
    assert (found["metadata"], found["host"]) == ("OSError", "OSError")
    assert found["engine"] == []
    assert "AWS_ENDPOINT_URL" not in found["environment"]
    assert found["environment"]["ORCA_OUTPUT"] == "/output"
    assert found["environment"]["ORCA_INPUTS"] == "/inputs"
    assert finished.image.startswith("sha256:")
    assert finished.peak_memory_mb > 0


def test_the_network_is_there_when_it_was_asked_for(scene: Scene) -> None:
    _, found = seen(scene, Container(image="orca/python", network=True))
    assert found["host"] == "ConnectionRefusedError"  # so it was reached
    assert found["metadata"] != "done"
    assert found["engine"] == []


def test_what_is_printed_and_how_it_ends_are_told(scene: Scene) -> None:
    task = scene.send("import sys\nprint('to out')\nprint('to err', file=sys.stderr)\nsys.exit(7)")
    finished = scene.events.finished(task)
    assert (finished.state, finished.reason, finished.exit_code) == ("failed", "exit_code", 7)
    assert scene.events.text(task, "out") == ["to out"]
    assert scene.events.text(task, "err") == ["to err"]
    scene.wait_gone(task.step)


def test_the_instance_says_that_it_has_an_engine(scene: Scene) -> None:
    assert scene.events.wait(InstanceHeartbeat).engine == "ready"


def test_a_shell_script_runs_in_a_shell(scene: Scene) -> None:
    script = scene.cloud.script({"run.sh": "echo hello $1 from $(pwd)\n"}, entrypoint="run.sh", runtime="shell")
    task = scene.cloud.run(script, container=Container(image="orca/shell"), arguments=("you",))
    assert scene.events.finished(task).state == "succeeded"
    assert scene.events.text(task) == ["hello you from /work"]


def test_a_dockerfile_is_built_once_and_its_user_entrypoint_and_volume_are_not_followed(scene: Scene) -> None:
    dockerfile = 'FROM orca/python\nRUN echo made > /made.txt\nUSER root\nVOLUME /cache\nENTRYPOINT ["/bin/false"]\n'
    script = (
        "import os, pathlib\n"
        "print(os.getuid(), pathlib.Path('/made.txt').read_text().strip())\n"
        "pathlib.Path('/cache/x').write_bytes(bytes(2**20))\n"
        "try:\n    pathlib.Path('/cache/y').write_bytes(bytes(2**26))\n"
        "except OSError as error:\n    print(error.strerror)\n"
    )
    task, first = scene.build(dockerfile, script)
    assert first.state == "succeeded", first
    assert scene.events.text(task) == ["1000 made", "No space left on device"]
    assert "Building the image of Dockerfile" in scene.log(task)
    again, second = scene.build(dockerfile, script + "print('another script')\n")
    assert second.state == "succeeded"
    assert "Building" not in scene.log(again)
    assert second.image == first.image
    assert scene.engine.call("GET", "/volumes")["Volumes"] in (None, [])


def test_files_of_the_bundle_come_into_the_image_and_make_a_new_one_when_they_change(scene: Scene) -> None:
    dockerfile = "FROM orca/python\nCOPY data.txt /data.txt\n"
    script = "print(open('/data.txt').read())"
    task, first = scene.build(dockerfile, script, files={"data.txt": "one"})
    assert scene.events.text(task) == ["one"], first
    task, second = scene.build(dockerfile, script, files={"data.txt": "two"})
    assert scene.events.text(task) == ["two"]
    assert first.image != second.image


def test_a_pinned_image_is_used_as_long_as_it_is_there(scene: Scene) -> None:
    _, first = scene.build("FROM orca/python\nRUN echo 1 > /v\n", "print(open('/v').read())")
    task, second = scene.build("FROM orca/python\nRUN echo 2 > /v\n", "print(open('/v').read())", pinned=first.image)
    assert (second.image, scene.events.text(task)[0]) == (first.image, "1")
    gone = "sha256:" + "0" * 64
    task, third = scene.build("FROM orca/python\nRUN echo 3 > /v\n", "print(open('/v').read())", pinned=gone)
    assert third.state == "succeeded"
    assert third.image not in (gone, first.image)
    assert "is not on this instance any more" in scene.log(task)


def test_a_dockerfile_that_fails_says_so(scene: Scene) -> None:
    _, finished = scene.build("FROM orca/python\nRUN echo about to fail; exit 3\n")
    assert (finished.state, finished.reason) == ("failed", "build_failed")
    assert "about to fail" in finished.message
    assert "returned a non-zero code: 3" in finished.message


@pytest.mark.parametrize(
    ("dockerfile", "told"),
    [
        ("FROM orca/python\nRUN python3 -c 'while True: pass'\n", "longer than 8 seconds"),
        ("FROM orca/python\nRUN cat /dev/zero | split -b 10M - /x\n", "wrote more than 64 MB"),
        (
            "FROM orca/python\nRUN python3 -c \"import socket; socket.create_connection(('10.0.0.1', 80), 3)\"\n",
            "unreachable",
        ),
        ("FROM orca/python\nADD http://127.0.0.1/x /x\n", "ADD with an address"),
        ("nonsense\n", "unknown instruction"),
        ("FROM orca/python\nRUN mount -t tmpfs x /mnt\n", "permission denied"),
        ("FROM orca/python\nRUN --mount=type=bind,target=/x true\n", "BuildKit"),
    ],
)
def test_a_build_has_limits(scene: Scene, dockerfile: str, told: str) -> None:
    task, finished = scene.build(dockerfile)
    assert (finished.state, finished.reason) == ("failed", "build_failed"), finished
    assert told.lower() in (finished.message + scene.log(task)).lower()
    until = time.monotonic() + 10
    while scene.engine.call("GET", "/containers/json", {"filters": {"ancestor": ["orca/python"]}}):
        assert time.monotonic() < until, "something of the build still runs"
        time.sleep(0.1)


def test_a_fork_bomb_in_a_build_is_contained(scene: Scene) -> None:
    began = time.monotonic()
    bomb = "import os\\nwhile True:\\n  try: os.fork()\\n  except OSError: pass"
    _, finished = scene.build(f"FROM orca/python\nRUN printf '{bomb}' > /b.py && python3 /b.py\n")
    assert (finished.state, finished.reason) == ("failed", "build_failed")
    assert time.monotonic() - began < 60


def test_a_build_is_cancelled(scene: Scene) -> None:
    files = {"Dockerfile": "FROM orca/python\nRUN echo it runs; sleep 1000\n", "main.py": ""}
    task = scene.cloud.run(scene.cloud.script(files), container=Container(dockerfile="Dockerfile"))
    scene.events.wait_for_line(task, "it runs")
    scene.cloud.desire(Desired(generation=1, cancelled=(task.step,)))
    assert scene.events.finished(task).state == "cancelled"


def test_a_fork_bomb_is_ended(scene: Scene) -> None:
    bomb = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n"
    finished, _ = scene.run(bomb, limits=Limits(seconds=30, processes=50))
    assert (finished.state, finished.reason) == ("failed", "process_limit")


def test_a_memory_bomb_is_ended(scene: Scene) -> None:
    finished, _ = scene.run("x = []\nwhile True:\n    x.append(bytes(2**24))\n", limits=Limits(memory_mb=128))
    assert (finished.state, finished.reason) == ("failed", "memory_limit")


def test_tmp_is_bounded_and_outputs_too(scene: Scene) -> None:
    script = (
        "import os\n"
        "try:\n    open('/tmp/x', 'wb').write(bytes(2**27))\nexcept OSError as error:\n    print(error.strerror)\n"
        "os.unlink('/tmp/x')\n"
        "open('/output/large', 'wb').write(bytes(2**22))\n"
    )
    finished, lines = scene.run(script, limits=Limits(memory_mb=200, output_mb=2))
    assert lines == ["No space left on device"]
    assert (finished.state, finished.reason) == ("failed", "output_limit")


def test_time_is_bounded_and_sigterm_comes_first(scene: Scene) -> None:
    script = (
        "import signal, sys, time\n"
        "def end(*_):\n    print('asked to end', flush=True)\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\nprint('up', flush=True)\ntime.sleep(100)\n"
    )
    finished, lines = scene.run(script, limits=Limits(seconds=2))
    assert (finished.state, finished.reason) == ("timed_out", "time_limit")
    assert lines == ["up", "asked to end"]


def test_a_step_is_cancelled_and_its_container_is_gone(scene: Scene) -> None:
    task = scene.send("import time\nprint('up', flush=True)\ntime.sleep(1000)")
    scene.events.wait_for_line(task, "up")
    scene.cloud.desire(Desired(generation=2, cancelled=(task.step,)))
    assert scene.events.finished(task).state == "cancelled"
    scene.wait_gone(task.step)


def test_inputs_and_secrets_are_there_to_be_read(scene: Scene) -> None:
    scene.cloud.put_secret("TOKEN", "much secret")
    script = (
        "import os, pathlib\n"
        "print(pathlib.Path(os.environ['ORCA_SECRETS'], 'TOKEN').read_text() == os.environ['TOKEN'])\n"
        "print(sorted(os.listdir(os.environ['ORCA_INPUTS'])))\n"
    )
    finished, lines = scene.run(script, secret_names=("TOKEN",))
    assert (finished.state, lines) == ("succeeded", ["True", "[]"]), finished


def test_an_image_that_is_nowhere_is_named(scene: Scene) -> None:
    finished, _ = scene.run("", Container(image="127.0.0.1/nothing/here"))
    assert (finished.state, finished.reason) == ("failed", "image_unavailable")
    assert "127.0.0.1/nothing/here" in finished.message


def test_an_agent_that_is_killed_leaves_no_container(
    moto_cloud: MotoCloud, docker_socket: str, agent_with_engine: AgentWith
) -> None:
    engine = Engine(docker_socket)
    with agent_with_engine(moto_cloud, docker_socket) as (agent, events):
        task = moto_cloud.run("import time\nprint('up', flush=True)\ntime.sleep(3)", container=PYTHON)
        events.wait_for_line(task, "up")
        first = engine.containers(f"orca.step={task.step}")
        assert len(first) == 1
        agent.kill()
        agent.start()
        finished = events.finished(task, timeout=60)
        assert finished.state == "succeeded"
        assert engine.containers(f"orca.step={task.step}") == []


def test_an_agent_that_leaves_gives_the_step_back(
    moto_cloud: MotoCloud, docker_socket: str, agent_with_engine: AgentWith
) -> None:
    engine = Engine(docker_socket)
    with agent_with_engine(moto_cloud, docker_socket) as (agent, events):
        task = moto_cloud.run("import time\nprint('up', flush=True)\ntime.sleep(60)", container=PYTHON)
        events.wait_for_line(task, "up")
        assert agent.stop() == 0
        assert engine.containers(f"orca.step={task.step}") == []
        assert events.of(StepFinished, task.step) == []
        assert moto_cloud.depth() == (1, 0)


def test_an_instance_without_an_engine_says_so(moto_cloud: MotoCloud, agent_with_engine: AgentWith) -> None:
    with agent_with_engine(moto_cloud, "/nowhere/docker.sock") as (_, events):
        finished = events.finished(moto_cloud.run("", container=PYTHON))
        assert (finished.state, finished.reason) == ("failed", "container_unavailable")
        assert "no container engine on this instance" in finished.message
        assert events.wait(InstanceHeartbeat).engine == "none"
