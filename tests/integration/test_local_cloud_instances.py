"""Instances of the local cloud boot their user data, keep their files, stay apart, and go through EC2's states."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fixtures.cloud import REGION, Cloud, wait_until

pytest_plugins = ["tests.fixtures.cloud"]
pytestmark = pytest.mark.cloud

EC2_TRUST = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}

#: Leaves the answers of a question to the metadata service on the console, then stays.
ASK_METADATA = """
base=$AWS_EC2_METADATA_SERVICE_ENDPOINT
token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$base/latest/api/token")
ask() { curl -s -H "X-aws-ec2-metadata-token: $token" "$base/latest/$1"; echo; }
"""


@dataclass
class Machine:
    """An instance under test."""

    cloud: Cloud
    id: str
    bucket: str
    ec2: Any

    def describe(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ec2.describe_instances(InstanceIds=[self.id])["Reservations"][0]["Instances"][0]
        return found

    @property
    def state(self) -> str:
        return str(self.describe()["State"]["Name"])

    def reach(self, state: str, seconds: float = 40.0) -> list[str]:
        """Wait for a state; all that were seen on the way."""
        seen: list[str] = []

        def there() -> bool:
            now = self.state
            if not seen or seen[-1] != now:
                seen.append(now)
            return now == state

        wait_until(there, seconds, f"{self.id} {state}")
        return seen

    def console(self) -> str:
        return str(self.ec2.get_console_output(InstanceId=self.id).get("Output", ""))

    def says(self, text: str, times: int = 1) -> str:
        """Wait until the console has said ``text``; the console."""
        return str(wait_until(lambda: (c := self.console()).count(text) >= times and c, 40, f"{text!r} on the console"))

    @property
    def init_pid(self) -> int:
        found = {one["id"]: one["pid"] for one in self.cloud.health()["instances"]}
        return int(found.get(self.id, 0))


def launch(cloud: Cloud, script: str, **more: Any) -> Machine:
    """An instance with a bucket and a role of its own."""
    made = f"machine-{uuid.uuid4().hex[:12]}"
    iam, ec2 = cloud.client("iam"), cloud.client("ec2")
    cloud.client("s3").create_bucket(Bucket=made, CreateBucketConfiguration={"LocationConstraint": REGION})
    iam.create_role(
        RoleName=made, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [EC2_TRUST]})
    )
    own = {"Effect": "Allow", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{made}", f"arn:aws:s3:::{made}/*"]}
    iam.put_role_policy(
        RoleName=made, PolicyName="own", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [own]})
    )
    iam.create_instance_profile(InstanceProfileName=made)
    iam.add_role_to_instance_profile(InstanceProfileName=made, RoleName=made)
    run = ec2.run_instances(
        ImageId="ami-12c6146b",
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        UserData=f"#!/bin/sh\n{script}",
        IamInstanceProfile={"Name": made},
        **more,
    )["Instances"][0]
    assert run["State"] == {"Code": 0, "Name": "pending"}
    return Machine(cloud, run["InstanceId"], made, ec2)


def test_the_user_data_runs_as_root_in_a_world_of_its_own(local_cloud: Cloud) -> None:
    script = f"""
echo "i am $(id -un), process $$ of $(ls -d /proc/[0-9]* | wc -l)"
for path in {local_cloud.data} {Path.cwd()} /root/.ssh /var/lib/dpkg /etc/ssl/private /sys/kernel; do
    [ -e "$path" ] && echo "sees $path"
done
python3 -c 'import venv, ssl; print("python is whole")'
for tool in curl tar sha256sum ssh-keygen; do command -v "$tool" > /dev/null || echo "misses $tool"; done
echo x > /proc/sys/kernel/core_pattern && echo "reconfigures the kernel"
mount -t tmpfs none /mnt 2> /dev/null && echo "mounts"
touch /usr/x 2> /dev/null && echo "changes the system"
touch /etc/orca/x /var/lib/x /opt/orca-agent/x /home/analyst/x /root/x /tmp/x && echo "writes its own"
setpriv --reuid analyst --regid analyst --clear-groups id -un
echo "the end"
exec sleep 600
"""
    machine = launch(local_cloud, script)
    assert machine.reach("running") in (["pending", "running"], ["running"])
    console = machine.says("the end")
    seen = re.search(r"i am root, process 2 of (\d+)", console)
    assert seen is not None
    # The init, the script, its subshell and the two that count: none of this machine's.
    assert int(seen[1]) <= 6
    assert "python is whole" in console
    assert "writes its own" in console
    assert "\nanalyst\n" in console
    for wrong in ("sees ", "misses ", "reconfigures", "mounts", "changes the system"):
        assert wrong not in console, console
    found = machine.describe()
    assert found["PublicIpAddress"] == found["PrivateIpAddress"]
    assert found["PublicIpAddress"].startswith("127.")
    assert found["IamInstanceProfile"]["Arn"].endswith(machine.bucket)
    machine.ec2.terminate_instances(InstanceIds=[machine.id])


def test_the_metadata_service_knows_the_instance_and_its_role(local_cloud: Cloud) -> None:
    script = f"""{ASK_METADATA}
echo "without a token: $(curl -s -o /dev/null -w '%{{http_code}}' "$base/latest/meta-data/instance-id")"
echo "without the path: $(curl -s -o /dev/null -w '%{{http_code}}' -X PUT "${{base%/*}}/latest/api/token")"
echo "instance $(ask meta-data/instance-id) $(ask meta-data/instance-type) $(ask meta-data/placement/region)"
echo "addresses $(ask meta-data/local-ipv4) $(ask meta-data/public-ipv4)"
echo "document $(ask dynamic/instance-identity/document | tr -d ' \\n')"
echo "role $(ask meta-data/iam/security-credentials/)"
echo "info $(ask meta-data/iam/info)"
echo "the end"
"""
    machine = launch(local_cloud, script)
    console = machine.says("the end")
    address = machine.describe()["PublicIpAddress"]
    assert "without a token: 401" in console
    assert "without the path: 404" in console
    assert f"instance {machine.id} t3.micro {REGION}" in console
    assert f"addresses {address} {address}" in console
    assert f'"instanceId":"{machine.id}"' in console
    assert f"role {machine.bucket}" in console
    assert f":instance-profile/{machine.bucket}" in console
    machine.ec2.terminate_instances(InstanceIds=[machine.id])


def test_an_instance_reaches_what_its_role_may_and_nothing_of_its_neighbour(local_cloud: Cloud) -> None:
    """curl signs as the user data does; the neighbour's metadata is guessed at as well as can be."""
    neighbour = launch(local_cloud, "exec sleep 600")
    neighbour.reach("running")
    local_cloud.client("s3").put_object(Bucket=neighbour.bucket, Key="secret", Body=b"x")
    address = neighbour.describe()["PublicIpAddress"]
    script = f"""
{ASK_METADATA}
ask "meta-data/iam/security-credentials/$(ask meta-data/iam/security-credentials/)" > /tmp/keys
field() {{ python3 -c 'import json,sys; print(json.load(open("/tmp/keys"))[sys.argv[1]])' "$1"; }}
s3() {{
    curl -s -o /tmp/out -w '%{{http_code}}' --aws-sigv4 "aws:amz:$AWS_REGION:s3" \\
        --user "$(field AccessKeyId):$(field SecretAccessKey)" \\
        -H "x-amz-security-token: $(field Token)" -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" "$@"
}}
echo "puts $(s3 -X PUT --data-binary hello "$AWS_ENDPOINT_URL/BUCKET/runs/a.txt")"
echo "gets $(s3 "$AWS_ENDPOINT_URL/BUCKET/runs/a.txt") $(cat /tmp/out)"
echo "neighbour's object: $(s3 "$AWS_ENDPOINT_URL/{neighbour.bucket}/secret")"
prefix=${{base##*/}}
for path in latest/api/token "$prefix/latest/api/token"; do
    echo "neighbour's metadata: $(curl -s -o /dev/null -w '%{{http_code}}' -X PUT \\
        -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "http://{address}:1338/$path")"
done
echo "the end"
"""
    made = launch(local_cloud, script.replace("/BUCKET/", "/$(ask meta-data/iam/security-credentials/)/"))
    console = made.says("the end")
    assert "puts 200" in console
    assert "gets 200 hello" in console
    assert "neighbour's object: 403" in console
    assert console.count("neighbour's metadata: 404") == 2
    body = local_cloud.client("s3").get_object(Bucket=made.bucket, Key="runs/a.txt")["Body"].read()
    assert body == b"hello"
    for machine in (made, neighbour):
        machine.ec2.terminate_instances(InstanceIds=[machine.id])


def test_an_instance_keeps_its_files_and_address_when_it_stops_and_starts(local_cloud: Cloud) -> None:
    script = """
trap 'echo drained; exit 0' TERM
echo "boot number $(echo x >> /home/analyst/boots; wc -l < /home/analyst/boots), $(ls /tmp | wc -l) in /tmp"
touch /tmp/leftover
while :; do sleep 1 & wait; done
"""
    machine = launch(local_cloud, script)
    console = machine.says("boot number 1, 0 in /tmp")
    before = machine.describe()
    stopping = machine.ec2.stop_instances(InstanceIds=[machine.id])["StoppingInstances"][0]
    assert (stopping["PreviousState"]["Name"], stopping["CurrentState"]["Name"]) == ("running", "stopping")
    assert machine.reach("stopped") == ["stopping", "stopped"]
    assert "PublicIpAddress" not in machine.describe()
    assert "drained" in machine.console()
    assert machine.init_pid == 0
    starting = machine.ec2.start_instances(InstanceIds=[machine.id])["StartingInstances"][0]
    assert starting["CurrentState"]["Name"] == "pending"
    machine.reach("running")
    console = machine.says("boot number 2, 0 in /tmp")
    after = machine.describe()
    assert after["PublicIpAddress"] == before["PublicIpAddress"]
    assert after["LaunchTime"] >= before["LaunchTime"]
    machine.ec2.reboot_instances(InstanceIds=[machine.id])
    console = machine.says("boot number 3, 0 in /tmp")
    assert console.count("drained") == 2
    assert machine.state == "running"
    machine.ec2.terminate_instances(InstanceIds=[machine.id])
    assert machine.reach("terminated")[0] in ("shutting-down", "terminated")
    assert not (local_cloud.data / "instances" / machine.id / "root").exists()
    with pytest.raises(ClientError) as refused:
        machine.ec2.start_instances(InstanceIds=[machine.id])
    assert refused.value.response["Error"]["Code"] == "IncorrectInstanceState"


def test_a_process_that_will_not_end_does_not_hold_up_a_termination_for_ever(local_cloud: Cloud) -> None:
    machine = launch(local_cloud, "trap '' TERM\necho deaf\nwhile :; do sleep 1; done")
    machine.says("deaf")
    began = time.monotonic()
    machine.ec2.terminate_instances(InstanceIds=[machine.id])
    machine.reach("terminated")
    assert 2 < time.monotonic() - began < 8


def test_user_data_that_fails_or_is_killed_is_started_again(local_cloud: Cloud) -> None:
    machine = launch(
        local_cloud,
        "echo attempt; echo $$ > /tmp/pid; [ -e /root/fine ] || { touch /root/fine; exit 3; }; exec sleep 600",
    )
    console = machine.says("attempt", times=2)
    assert "the user data ended with 3; starting it again in 1 s" in console
    assert machine.state == "running"
    child = int(Path(f"/proc/{machine.init_pid}/task/{machine.init_pid}/children").read_text().split()[0])
    os.kill(child, signal.SIGKILL)
    assert "was killed by signal 9" in machine.says("attempt", times=3)
    machine.ec2.terminate_instances(InstanceIds=[machine.id])


def test_a_crashed_instance_comes_up_again_by_itself(local_cloud: Cloud) -> None:
    machine = launch(local_cloud, "echo up; exec sleep 600")
    machine.says("up\n")
    os.kill(machine.init_pid, signal.SIGKILL)
    console = machine.says("up\n", times=2)
    assert "has crashed" in console
    assert machine.state == "running"
    machine.ec2.terminate_instances(InstanceIds=[machine.id])


def test_an_instance_may_shut_itself_down(local_cloud: Cloud) -> None:
    machine = launch(local_cloud, "shutdown -h now; exec sleep 600")
    machine.reach("stopped")
    assert "shut itself down" in machine.console()
    ending = launch(local_cloud, "poweroff; exec sleep 600", InstanceInitiatedShutdownBehavior="terminate")
    ending.reach("terminated")


def test_two_instances_of_one_call_both_have_the_role_and_addresses_of_their_own(local_cloud: Cloud) -> None:
    one = launch(local_cloud, f'{ASK_METADATA}\necho "role $(ask meta-data/iam/security-credentials/)"')
    run = one.ec2.run_instances(
        ImageId="ami-12c6146b",
        MinCount=2,
        MaxCount=2,
        UserData=f'#!/bin/sh\n{ASK_METADATA}\necho "role $(ask meta-data/iam/security-credentials/)"',
        IamInstanceProfile={"Name": one.bucket},
    )["Instances"]
    machines = [one, *(Machine(local_cloud, made["InstanceId"], one.bucket, one.ec2) for made in run)]
    for machine in machines:
        machine.says(f"role {one.bucket}")
    assert len({machine.describe()["PublicIpAddress"] for machine in machines}) == 3
    one.ec2.terminate_instances(InstanceIds=[machine.id for machine in machines])


def test_links_that_an_instance_makes_do_not_lead_out_of_it(local_cloud: Cloud, tmp_path: Path) -> None:
    """At the next boot the cloud writes /etc/passwd and the like: not through links of the instance's own root."""
    target = tmp_path / "mine"
    target.write_text("untouched")
    tmp_path.chmod(0o755)
    script = f"""
[ -e /root/done ] && {{ echo again; exec sleep 600; }}
touch /root/done
rm -f /etc/passwd /etc/hosts && ln -s {target} /etc/passwd && ln -s {target} /etc/hosts
rm -rf /home/analyst/.ssh && mkdir -p /home/analyst/.ssh && ln -s {target} /home/analyst/.ssh/authorized_keys
mv /etc/profile.d /etc/moved && ln -s {tmp_path} /etc/profile.d
echo planted
exec sleep 600
"""
    machine = launch(local_cloud, script)
    machine.says("planted")
    machine.ec2.reboot_instances(InstanceIds=[machine.id])
    machine.says("again")
    assert target.read_text() == "untouched"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    machine.ec2.terminate_instances(InstanceIds=[machine.id])


def test_health_tells_what_runs(local_cloud: Cloud) -> None:
    machine = launch(local_cloud, "exec sleep 600")
    machine.reach("running")
    health = local_cloud.health()
    mine = next(one for one in health["instances"] if one["id"] == machine.id)
    assert health["ready"] is True
    assert mine["up"] is True
    assert mine["address"] == machine.describe()["PublicIpAddress"]
    assert subprocess.run(["kill", "-0", str(mine["pid"])], check=False).returncode == 0
    machine.ec2.terminate_instances(InstanceIds=[machine.id])


@pytest.mark.parametrize("roleless", [False, True])
def test_a_profile_that_is_not_there_yet_is_refused_as_ec2_does(local_cloud: Cloud, roleless: bool) -> None:
    """Clients try again upon exactly this refusal: what a role is made of takes a moment to be seen."""
    name = f"late-{roleless}"
    if roleless:
        local_cloud.client("iam").create_instance_profile(InstanceProfileName=name)
    ec2 = local_cloud.client("ec2")
    with pytest.raises(ClientError) as caught:
        ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1, IamInstanceProfile={"Name": name})
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValue"
    assert ("no associated IAM Roles" if roleless else "Invalid IAM Instance Profile") in str(caught.value)
