"""Instances of the local cloud reach this machine's Docker engine, each only for what is its own."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from agents.local_cloud.instances.engine import EngineDoor
from agents.local_cloud.instances.engine_rules import Folders
from agents.orca_agent import build
from agents.orca_agent.ids import new_id
from agents.orca_agent.orders import Container
from agents.orca_agent.protocol import Desired, InstanceHeartbeat, Limits
from agents.orca_agent.steps.container_image import Images, Site
from agents.orca_agent.steps.engine import Engine

if TYPE_CHECKING:
    from tests.fixtures.agent import MotoCloud
    from tests.fixtures.cloud import Cloud

pytest_plugins = ["tests.fixtures.agent", "tests.fixtures.cloud", "tests.fixtures.engine"]
REGION: Final = "eu-central-1"
REPOSITORY: Final = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.cloud

#: Asks the engine as the agent would, and as somebody would who wants more.
PROGRAM = r"""
import http.client, json, os, socket, sys, time
class Engine(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/run/docker.sock")
def ask(method, path, body=None):
    engine = Engine("docker", timeout=30)
    engine.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
    answer = engine.getresponse()
    data = answer.read()
    try:
        return answer.status, json.loads(data) if data.strip() else None
    except ValueError:
        return answer.status, data.decode()
def body(**host):
    return {
        "Image": "orca/python", "User": "1000:1000", "NetworkDisabled": True,
        "Entrypoint": ["python3", "-c", "open('/output/x', 'w').write(open('/secret/s').read())"],
        "HostConfig": {
            "CapDrop": ["ALL"], "IpcMode": "private", "LogConfig": {"Type": "none"}, "NetworkMode": "none",
            "Privileged": False, "ReadonlyRootfs": True, "RestartPolicy": {"Name": "no"},
            "SecurityOpt": ["no-new-privileges"], "Memory": 2**28, **host,
        },
    }
def mount(source, target="/output"):
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": False}
work = "/var/lib/orca/work/step/script/output"
os.makedirs(work)
os.chmod(work, 0o777)
os.makedirs("/run/orca/secrets/step")
open("/run/orca/secrets/step/s", "w").write("the secret")
os.symlink("/etc", "/var/lib/orca/work/link")
found = {"ping": ask("GET", "/_ping")[0], "socket": oct(os.stat("/run/docker.sock").st_mode & 0o777)}
mounts = [mount(work), mount("/run/orca/secrets/step", "/secret")]
status, made = ask("POST", "/v1.41/containers/create", body(Mounts=mounts))
found["create"] = status, str(made)[:200]
found["start"] = ask("POST", f"/containers/{made['Id']}/start")
for _ in range(100):
    state = ask("GET", f"/containers/{made['Id']}/json")[1]["State"]
    if not state["Running"]:
        break
    time.sleep(0.05)
found["ended"] = state["ExitCode"]
found["written"] = open(work + "/x").read()
found["listed"] = [each["Id"] for each in ask("GET", "/containers/json?all=1")[1]] == [made["Id"]]
refused = {
    "etc": body(Mounts=[mount("/etc")]),
    "up": body(Mounts=[mount("/var/lib/orca/work/../../../etc")]),
    "link": body(Mounts=[mount("/var/lib/orca/work/link")]),
    "whole": body(Mounts=[mount("/var/lib/orca")]),
    "binds": body(Binds=["/:/host"]),
    "privileged": body(Privileged=True),
    "pid": body(PidMode="host"),
    "devices": body(Devices=[{"PathOnHost": "/dev/vda"}]),
    "network": body(NetworkMode="host"),
    "root": {**body(), "User": "0"},
    "volumes": {**body(), "Volumes": {"/x": {}}},
}
found["refused"] = {name: ask("POST", "/containers/create", asked)[0] for name, asked in refused.items()}
other = sys.argv[1]
found["other"] = [ask(*each)[0] for each in (
    ("GET", f"/containers/{other}/json"), ("POST", f"/containers/{other}/kill"), ("DELETE", f"/containers/{other}"),
    ("GET", "/containers/%2e%2e/images/json"), ("DELETE", "/images/orca/python"), ("POST", "/volumes/create", {}),
    ("POST", f"/containers/{other}/exec", {}), ("GET", "/info"), ("POST", "/build?remote=http://x"),
)]
print("FOUND" + json.dumps(found), flush=True)
made = ask("POST", "/containers/create", {**body(), "Entrypoint": ["sleep", "1000"]})[1]
ask("POST", f"/containers/{made['Id']}/start")
print("LEFT " + made["Id"], flush=True)
"""

ANALYST = """
import socket
try:
    socket.socket(socket.AF_UNIX).connect("/run/docker.sock")
except OSError as error:
    print("ANALYST", type(error).__name__, flush=True)
"""


@pytest.fixture
def cloud_with_engine(docker_socket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    from tests.fixtures.cloud import running

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORCA_DOCKER_HOST", f"unix://{docker_socket}")
        yield from running(tmp_path_factory.mktemp("cloud-with-engine") / "data")


def launch(cloud: Cloud, script: str, **more: Any) -> str:
    run = cloud.client("ec2").run_instances(
        ImageId="ami-12c6146b", InstanceType="t3.micro", MinCount=1, MaxCount=1, UserData=f"#!/bin/sh\n{script}", **more
    )
    return str(run["Instances"][0]["InstanceId"])


def says(cloud: Cloud, instance_id: str, text: str) -> str:
    """What stands behind ``text`` on the console."""
    from tests.fixtures.cloud import wait_until

    def find() -> str:
        console = str(cloud.client("ec2").get_console_output(InstanceId=instance_id).get("Output", ""))
        assert "Traceback" not in console, console
        return console.partition(text)[2].partition("\n")[0] if text in console else ""

    return str(wait_until(find, 40, f"{text!r} on the console"))


def heredoc(name: str, program: str) -> str:
    return f"cat > /root/{name} <<'END'\n{program}\nEND\n"


def test_an_instance_has_an_engine_of_its_own_to_look_at(cloud_with_engine: Cloud, docker_socket: str) -> None:
    engine = Engine(docker_socket)
    assert engine.answers()
    other = engine.call("POST", "/containers/create", None, {"Image": "orca/python", "Cmd": ["true"]})["Id"]
    try:
        script = heredoc("program.py", PROGRAM) + f"python3 /root/program.py {other}\n"
        script += heredoc("analyst.py", ANALYST) + "cp /root/analyst.py /tmp/a.py; chmod 644 /tmp/a.py\n"
        script += "setpriv --reuid analyst --regid analyst --clear-groups python3 /tmp/a.py\nsleep 1000\n"
        instance_id = launch(cloud_with_engine, script)
        found: dict[str, Any] = json.loads(says(cloud_with_engine, instance_id, "FOUND"))
        assert (found["ping"], found["socket"], found["create"][0], found["start"][0]) == (200, "0o600", 201, 204)
        assert (found["ended"], found["written"], found["listed"]) == (0, "the secret", True)
        assert set(found["refused"].values()) == {403}, found["refused"]
        assert found["other"] == [404, 404, 404, 403, 403, 403, 403, 403, 403]
        assert says(cloud_with_engine, instance_id, "ANALYST ") == "PermissionError"
        left = says(cloud_with_engine, instance_id, "LEFT ").strip()
        assert engine.container(left)["State"]["Running"]
        cloud_with_engine.client("ec2").terminate_instances(InstanceIds=[instance_id])
        until = time.monotonic() + 20
        while engine.containers(f"orca.instance={instance_id}"):
            assert time.monotonic() < until, "its containers live on"
            time.sleep(0.1)
        assert engine.container(other)["Id"] == other
    finally:
        engine.remove(other)


def test_without_an_engine_the_console_says_so(local_cloud: Cloud) -> None:
    instance_id = launch(local_cloud, "echo socket: $(ls /run/docker.sock 2>/dev/null || echo none)\nsleep 1000")
    assert "steps in containers will fail" in says(local_cloud, instance_id, "no Docker engine")
    assert says(local_cloud, instance_id, "socket: ") == "none"


def workspace_in(cloud: Cloud) -> MotoCloud:
    """What Terraform would make for a workspace, as far as its agent needs it."""
    from tests.fixtures.agent import MotoCloud

    workspace = new_id()
    bucket, tasks = f"orca-{workspace}", f"orca-{workspace}-tasks.fifo"
    s3, sqs = cloud.client("s3"), cloud.client("sqs")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    tasks_url = sqs.create_queue(QueueName=tasks, Attributes={"FifoQueue": "true"})["QueueUrl"]
    events_url = sqs.create_queue(QueueName=f"orca-events-{workspace}")["QueueUrl"]
    manager = cloud.client("secretsmanager")
    made = MotoCloud(cloud.endpoint, workspace, bucket, tasks, tasks_url, events_url, b"k" * 32, s3, sqs, manager)
    made.put_control(slots=2)
    return made


def launch_with_agent(cloud: Cloud, made: MotoCloud) -> str:
    """An instance with the user data that Terraform gives it, and a role that may do anything."""
    archive = build.archive()
    sha256 = hashlib.sha256(archive).hexdigest()
    made.s3.put_object(Bucket=made.bucket, Key=f"agents/{sha256}.tar.gz", Body=archive)
    script = (REPOSITORY / "terraform/modules/compute/templates/user_data.sh.tftpl").read_text()
    values = {"workspace_id": made.workspace, "region": REGION, "bucket": made.bucket, "agent.bucket": made.bucket}
    for name, value in {**values, "agent.key": f"agents/{sha256}.tar.gz", "agent.sha256": sha256}.items():
        script = script.replace("${" + name + "}", value)
    iam = cloud.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = f"engine-{made.workspace}"
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=policy(trust))
    everything = policy({"Effect": "Allow", "Action": "*", "Resource": "*"})
    iam.put_role_policy(RoleName=role, PolicyName="all", PolicyDocument=everything)
    iam.create_instance_profile(InstanceProfileName=role)
    iam.add_role_to_instance_profile(InstanceProfileName=role, RoleName=role)
    return launch(cloud, script.replace("$${", "${").removeprefix("#!/bin/sh\n"), IamInstanceProfile={"Name": role})


def policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


SEEN_INSIDE = """
import os, pathlib
print(os.getuid(), pathlib.Path("/made").read_text().strip())
print(pathlib.Path(os.environ["ORCA_SECRETS"], "TOKEN").read_text())
pathlib.Path("/output/result.txt").write_text("here")
"""


def test_an_agent_on_an_instance_builds_and_runs_containers(cloud_with_engine: Cloud, docker_socket: str) -> None:
    from tests.fixtures.agent import Events
    from tests.fixtures.cloud import wait_until

    made = workspace_in(cloud_with_engine)
    made.put_secret("TOKEN", "a secret of a step")
    events = Events(made)
    thread = threading.Thread(target=events.collect)
    thread.start()
    try:
        launch_with_agent(cloud_with_engine, made)
        files = {"Dockerfile": "FROM orca/python\nRUN sleep 1; echo well > /made\n", "main.py": SEEN_INSIDE}
        script, container = made.script(files), Container(dockerfile="Dockerfile")
        first = made.run(script, container=container, secret_names=("TOKEN",))
        finished = events.finished(first, timeout=90)
        assert finished.state == "succeeded", (finished.message, [line.text for line in events.lines(first)])
        assert events.text(first) == ["1000 well", "***"]
        assert events.wait(InstanceHeartbeat).engine == "ready"
        assert made.get(f"runs/{first.run}/{first.step}/1/output/result.txt") == b"here"
        again = made.run(script, container=container, secret_names=("TOKEN",))
        assert events.finished(again, timeout=60).image == finished.image
        assert not any("Building" in line.text for line in events.lines(again))
        bomb = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n"
        ended = events.finished(made.run(bomb, container=Container(image="orca/python"), limits=Limits(processes=40)))
        assert (ended.state, ended.reason) == ("failed", "process_limit")
        endless = {"Dockerfile": "FROM orca/python\nRUN echo it runs; sleep 1000\n", "main.py": ""}
        stopped = made.run(made.script(endless), container=container)
        events.wait_for_line(stopped, "it runs")
        made.desire(Desired(generation=1, cancelled=(stopped.step,)))
        assert events.finished(stopped).state == "cancelled"
        engine = Engine(docker_socket)
        wait_until(lambda: not engine.call("GET", "/containers/json"), 20, "the end of the build")
    finally:
        events.stop()
        thread.join()


def test_instances_that_build_the_same_at_once_get_the_same_image(docker_socket: str, tmp_path: Path) -> None:
    doors = [EngineDoor(f"i-{name}", docker_socket, tmp_path / name, Folders({})) for name in ("one", "two", "three")]
    found: list[str] = []

    def make(name: str) -> None:
        folder = tmp_path / f"bundle-{name}"
        folder.mkdir()
        (folder / "Dockerfile").write_text(f"FROM orca/shell\nRUN sleep 2; echo {tmp_path} > /made\n")
        engine = Engine(str(tmp_path / name / "docker.sock"))
        assert engine.answers()
        site = Site(folder, 512, lambda text: None, lambda stream, data: None, lambda: None)
        found.append(Images(engine).find_or_make(Container(dockerfile="Dockerfile"), site).id)

    try:
        threads = [threading.Thread(target=make, args=(name,)) for name in ("one", "two", "three")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        for door in doors:
            door.close()
    assert (len(found), len(set(found))) == (3, 1)
