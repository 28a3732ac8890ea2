"""The local cloud run by somebody who is not root: instances in user namespaces of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.cloud import Cloud, running, wait_until

pytest_plugins = ["tests.fixtures.cloud"]
pytestmark = pytest.mark.cloud

PYTHON = "/usr/bin/python3"


def become_nobody(home: Path) -> list[str]:
    """What to put in front of the cloud's command; skips where it cannot be tried."""
    if os.geteuid() != 0:
        return []
    site = next(path for path in sys.path if path.endswith("site-packages"))
    prefix = [
        *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"),
        *("env", "-i", "PATH=/usr/bin:/bin", f"HOME={home}", f"PYTHONPATH={site}", "PYTHONDONTWRITEBYTECODE=1", PYTHON),
    ]
    if shutil.which("setpriv") is None or not Path(PYTHON).exists():
        pytest.skip("needs setpriv and the system's Python to become somebody else")
    trial = subprocess.run([*prefix, "-c", "import moto, asyncssh"], capture_output=True, timeout=60, check=False)
    sandbox = subprocess.run(
        [*prefix[: prefix.index("env")], "bwrap", "--ro-bind", "/", "/", "--unshare-user", "true"],
        capture_output=True,
        timeout=20,
        check=False,
    )
    if trial.returncode or sandbox.returncode:
        pytest.skip("an ordinary user has no sandbox here, or may not read the virtual environment")
    return prefix


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    # pytest's own temporary folders are closed to other users.
    with tempfile.TemporaryDirectory(prefix="orca-ordinary-user-") as folder:
        prefix = become_nobody(Path(folder))
        if prefix:
            os.chown(folder, 65534, 65534)
        yield from running(Path(folder) / "data", prefix=prefix)


def test_an_instance_boots_writes_its_own_files_and_lets_its_user_in(cloud: Cloud, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    script = f"""#!/bin/sh
echo "i am $(id -un)"
touch /etc/orca/x /var/lib/x /opt/orca-agent/x /home/analyst/x && echo "writes its own"
[ -e {cloud.data} ] && echo "sees the data"
mkdir -p /home/analyst/.ssh && echo '{key.with_suffix(".pub").read_text().strip()}' > /home/analyst/.ssh/authorized_keys
curl -s -o /dev/null -w 'token %{{http_code}}\\n' -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' \\
    "$AWS_EC2_METADATA_SERVICE_ENDPOINT/latest/api/token"
echo "the end"
exec sleep 600
"""
    ec2 = cloud.client("ec2")
    run = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1, UserData=script)["Instances"][0]

    def console() -> str:
        return str(ec2.get_console_output(InstanceId=run["InstanceId"]).get("Output", ""))

    said = wait_until(lambda: "the end" in console() and console(), what="the boot")
    assert "i am analyst" in said
    assert "writes its own" in said
    assert "token 200" in said
    assert "sees the data" not in said

    ssh = ["-F", "none", "-i", str(key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    quiet = ["-o", "LogLevel=ERROR", "-o", "BatchMode=yes"]
    target = f"analyst@{run['PublicIpAddress']}"
    done = subprocess.run(
        ["ssh", *ssh, *quiet, "-tt", "-p", str(cloud.ssh_port), target, "id -un; tty; ps -o comm= -p 2; ls x"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stdout.split() == ["analyst", "/dev/pts/0", "sleep", "x"], done.stderr
    copied = subprocess.run(
        ["scp", *ssh, *quiet, "-P", str(cloud.ssh_port), str(key), f"{target}:copy"], timeout=20, check=False
    )
    assert copied.returncode == 0
    ec2.stop_instances(InstanceIds=[run["InstanceId"]])
    describe = ec2.describe_instances
    wait_until(lambda: describe()["Reservations"][0]["Instances"][0]["State"]["Name"] == "stopped", what="the stop")
