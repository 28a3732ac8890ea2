"""The agent on an instance of the local cloud: fetched by user data, with the role's credentials, as on AWS."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agents.orca_agent import build
from agents.orca_agent.ids import new_id
from agents.orca_agent.protocol import (
    Desired,
    InstanceRegistered,
    InstanceStopping,
    Limits,
    StepFinished,
    StepStarted,
)
from agents.orca_agent.steps import processes

if TYPE_CHECKING:
    from tests.fixtures.agent import Events, MotoCloud
    from tests.fixtures.cloud import Cloud

pytest_plugins = ["tests.fixtures.agent", "tests.fixtures.cloud"]
pytestmark = pytest.mark.cloud

REPOSITORY = Path(__file__).resolve().parents[2]
TEMPLATE = REPOSITORY / "terraform/modules/compute/templates/user_data.sh.tftpl"
REGION = "eu-central-1"
EC2_TRUST = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}


def user_data(values: dict[str, str]) -> str:
    """The template as Terraform would render it."""
    text = TEMPLATE.read_text()
    text = re.sub(r"(?<!\$)\$\{([a-z_.0-9]+)\}", lambda found: values[found[1]], text)
    return text.replace("$${", "${")


class Instance:
    """A workspace with one instance whose agent has registered."""

    def __init__(self, local: Cloud) -> None:
        from tests.fixtures.agent import Events, MotoCloud

        self.local = local
        workspace = new_id()
        s3, sqs, manager = (local.client(service) for service in ("s3", "sqs", "secretsmanager"))
        name = f"orca-{workspace}"
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        tasks = f"{name}-tasks.fifo"
        tasks_url = sqs.create_queue(QueueName=tasks, Attributes={"FifoQueue": "true"})["QueueUrl"]
        events_url = sqs.create_queue(QueueName=f"events-{workspace}")["QueueUrl"]
        self.cloud: MotoCloud = MotoCloud(
            local.endpoint, workspace, name, tasks, tasks_url, events_url, os.urandom(32), s3, sqs, manager
        )
        self.cloud.put_control(slots=2)
        self.events: Events = Events(self.cloud)
        self.ec2 = local.client("ec2")
        self.id = self._launch(name)

    def _launch(self, name: str) -> str:
        content = build.archive()
        sha256 = hashlib.sha256(content).hexdigest()
        self.cloud.s3.put_object(Bucket=name, Key=f"agents/{sha256}.tar.gz", Body=content)
        iam = self.local.client("iam")
        trust = json.dumps({"Version": "2012-10-17", "Statement": [EC2_TRUST]})
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
        queues = [f"arn:aws:sqs:{REGION}:*:{name}-tasks.fifo", f"arn:aws:sqs:{REGION}:*:events-*"]
        allowed = [
            {"Effect": "Allow", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]},
            {"Effect": "Allow", "Action": "sqs:*", "Resource": queues},
            {
                "Effect": "Allow",
                "Action": "secretsmanager:GetSecretValue",
                "Resource": f"arn:aws:secretsmanager:{REGION}:*:secret:orca/{self.cloud.workspace}/OPEN*",
            },
        ]
        document = json.dumps({"Version": "2012-10-17", "Statement": allowed})
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document)
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        values = {
            "workspace_id": self.cloud.workspace,
            "region": REGION,
            "bucket": name,
            "agent.bucket": name,
            "agent.key": f"agents/{sha256}.tar.gz",
            "agent.sha256": sha256,
        }
        found: dict[str, Any] = self.ec2.run_instances(
            ImageId="ami-12c6146b",
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            UserData=user_data(values),
            IamInstanceProfile={"Name": name},
        )
        return str(found["Instances"][0]["InstanceId"])

    def agent_pid(self) -> int:
        """As this machine sees it."""
        init = {one["id"]: one["pid"] for one in self.local.health()["instances"]}[self.id]
        for process in processes.descendants(int(init)):
            words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
            if b"agents.orca_agent" in words:
                return process.pid
        pytest.fail("no agent runs on the instance")


@pytest.fixture(scope="module")
def instance(local_cloud: Cloud) -> Iterator[Instance]:
    made = Instance(local_cloud)
    thread = threading.Thread(target=made.events.collect)
    thread.start()
    made.events.wait(InstanceRegistered, timeout=60)
    yield made
    made.ec2.terminate_instances(InstanceIds=[made.id])
    made.events.stop()
    thread.join()


def test_the_agent_says_who_it_is(instance: Instance) -> None:
    registered = instance.events.wait(InstanceRegistered)
    found = instance.ec2.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"][0]
    assert registered.instance_type == "t3.micro"
    assert registered.public_ip == found["PublicIpAddress"]
    assert registered.private_ip == found["PrivateIpAddress"]
    assert [key.split()[0] for key in registered.ssh_host_keys] == ["ssh-ed25519"]


@pytest.mark.parametrize("cold", ["", "1"], ids=["warm", "cold"])
def test_steps_run_as_analyst_and_have_the_roles_credentials(instance: Instance, cold: str) -> None:
    task = instance.cloud.run(
        "import os, pwd, urllib.request as u\n"
        "print(pwd.getpwuid(os.getuid()).pw_name, os.path.expanduser('~'), os.getgroups() == [os.getgid()])\n"
        "base = os.environ['AWS_EC2_METADATA_SERVICE_ENDPOINT'].rstrip('/') + '/latest/'\n"
        "seconds = {'X-aws-ec2-metadata-token-ttl-seconds': '60'}\n"
        "token = u.urlopen(u.Request(base + 'api/token', method='PUT', headers=seconds)).read().decode()\n"
        "ask = u.Request(base + 'meta-data/iam/security-credentials/', headers={'X-aws-ec2-metadata-token': token})\n"
        "print(u.urlopen(ask).read().decode().strip())\n"
        "print(open('/proc/self/status').read().count('NoNewPrivs:\\t1'))\n",
        environment={"ORCA_COLD_START": cold},
    )
    assert instance.events.finished(task).state == "succeeded", instance.events.text(task, "err")
    expected = ["analyst /home/analyst True", instance.cloud.bucket, "1"]
    assert instance.events.text(task) == expected


@pytest.mark.parametrize("cold", ["", "1"], ids=["warm", "cold"])
def test_secrets_reach_analyst_in_memory_alone(instance: Instance, cold: str) -> None:
    instance.cloud.put_secret("OPEN", "hunter2-hunter2")
    task = instance.cloud.run(
        "import os, pathlib\n"
        "path = pathlib.Path(os.environ['ORCA_SECRETS'], 'OPEN')\n"
        "print(path.read_text() == os.environ['OPEN'], path.owner(), path.parent.owner(), os.environ['OPEN'])\n"
        "mounts = [line.split() for line in open('/proc/mounts')]\n"
        "print(max((m for m in mounts if str(path).startswith(m[1])), key=lambda m: len(m[1]))[2])\n",
        secret_names=("OPEN",),
        environment={"ORCA_COLD_START": cold},
    )
    assert instance.events.finished(task).state == "succeeded", instance.events.text(task, "err")
    assert instance.events.text(task) == ["True analyst analyst ***", "tmpfs"]


def test_a_role_that_may_not_read_a_secret_says_so(instance: Instance) -> None:
    instance.cloud.put_secret("CLOSED", "hunter2-hunter2")
    finished = instance.events.finished(instance.cloud.run("print('never')", secret_names=("CLOSED",)))
    assert (finished.state, finished.reason) == ("failed", "secret_missing")
    assert finished.message.startswith("The instance may not read the secret CLOSED.")


def test_limits_hold_in_the_sandbox(instance: Instance) -> None:
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    glutton = "import time\nheld = []\nwhile True: held.append(bytearray(10_000_000)); time.sleep(0.001)"
    endless = "import signal\nsignal.signal(15, signal.SIG_IGN)\nwhile True: pass"
    cases = [
        (instance.cloud.run(bomb, limits=Limits(processes=40)), "process_limit"),
        (instance.cloud.run(glutton, limits=Limits(memory_mb=100)), "memory_limit"),
        (instance.cloud.run(endless, limits=Limits(seconds=1)), "time_limit"),
    ]
    for task, reason in cases:
        assert instance.events.finished(task, 60).reason == reason


def test_a_killed_agent_comes_back_and_runs_its_steps_again(instance: Instance) -> None:
    script = (
        "import os, time\nprint('there', flush=True)\n"
        "while not os.path.exists('/home/analyst/go-on'): time.sleep(0.01)\n"
    )
    task = instance.cloud.run(script)
    instance.events.wait_for_line(task, "there")
    first = instance.events.wait(StepStarted, task.step).boot_id
    os.kill(instance.agent_pid(), signal.SIGKILL)
    instance.events.wait(StepStarted, task.step, where=lambda event: event.boot_id != first, timeout=60)
    go_on = instance.cloud.run("open('/home/analyst/go-on', 'w')")
    assert instance.events.finished(go_on).state == "succeeded"
    assert instance.events.finished(task).state == "succeeded"
    assert len({event.id for event in instance.events.of(StepFinished, task.step)}) == 1


def test_a_stopped_instance_gives_its_step_back_and_goes_on_after_a_start(instance: Instance) -> None:
    task = instance.cloud.run(
        "import os, time\nprint('there', flush=True)\n"
        "while not os.path.exists('/home/analyst/go-on-2'): time.sleep(0.01)\n"
    )
    instance.events.wait_for_line(task, "there")
    first = instance.events.of(StepStarted, task.step)[-1].boot_id
    instance.ec2.stop_instances(InstanceIds=[instance.id])
    instance.ec2.get_waiter("instance_stopped").wait(
        InstanceIds=[instance.id], WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    assert instance.events.of(StepFinished, task.step) == []
    instance.cloud.desire(Desired(generation=1, cancelled=(task.step,)))
    instance.ec2.start_instances(InstanceIds=[instance.id])
    instance.events.wait(InstanceRegistered, where=lambda event: event.boot_id != first, timeout=60)
    assert instance.events.finished(task, 90).state == "cancelled"
    assert instance.events.of(InstanceStopping)


def test_an_instance_whose_portal_has_vanished_stops_itself(instance: Instance) -> None:
    """The last of this file: the instance stays down. What it was told a lease of, nobody renews."""
    task = instance.cloud.run("import time\ntime.sleep(8)")
    instance.events.wait(StepStarted, task.step, timeout=60)
    instance.cloud.desire(Desired(generation=2, lease=4))
    assert instance.events.finished(task, 30).state == "succeeded"  # longer than the lease: what runs is left to run
    instance.ec2.get_waiter("instance_stopped").wait(
        InstanceIds=[instance.id], WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
