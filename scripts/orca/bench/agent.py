"""The agent alone: what it takes while it waits for work, and how soon after its start it asks for some.

Floor: an interpreter of the same kind that imports what a poll needs, and sends one that was signed for it.
"""

from __future__ import annotations

import argparse
import getpass
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from agents.local_cloud.access.sessions import Session
from agents.local_cloud.instances.metadata import Facts, Metadata
from agents.orca_agent import build
from agents.orca_agent.ids import new_id
from scripts.orca.bench.figures import Report
from scripts.orca.bench.memory import family, memory_alone_mb, memory_mb, wait_until_idle
from scripts.orca.bench.watch import POLL, Watch
from scripts.orca.console import ScriptError, say, step
from scripts.orca.paths import ROOT
from scripts.orca.run.ports import free_port

REGION: Final = "eu-central-1"
ACCOUNT: Final = "100000000001"
SLOTS: Final = 4
PATH: Final = "/usr/local/bin:/usr/bin:/bin"
PATIENCE: Final = 30.0
FLOOR: Final = (
    "import hashlib, hmac, http.client, json, sys, threading\n"
    "host, headers, body = json.loads(sys.argv[1])\n"
    "connection = http.client.HTTPConnection(host)\n"
    "connection.request('POST', '/', body, headers)\n"
    "sys.exit(connection.getresponse().status != 200)\n"
)


@dataclass(frozen=True)
class Keys:
    """Of the platform's administrator."""

    access: str
    secret: str


@dataclass(frozen=True)
class Start:
    """One start of the agent: seconds to its first poll, and what it and its warm interpreter took while idle."""

    seconds: float
    alone_mb: float
    pss_mb: float
    rss_mb: float


@dataclass(frozen=True)
class Bench:
    """A workspace's part of the cloud, and an instance's root folder with the agent unpacked in it."""

    endpoint: str
    keys: Keys
    workspace: str
    root: Path
    release: Path
    tasks_url: str
    metadata: Metadata

    @property
    def user(self) -> str:
        """Who steps, and so the warm interpreter, run as."""
        return "nobody" if os.geteuid() == 0 else getpass.getuser()


def measure(arguments: list[str]) -> Report:
    """``--starts N``: how often each is started."""
    reader = argparse.ArgumentParser(prog="scripts/bench/agent")
    reader.add_argument("--starts", type=int, default=15, help="how often each is started (default: %(default)s)")
    starts: int = reader.parse_args(arguments).starts
    report = Report("agent")
    with tempfile.TemporaryDirectory(prefix="orca-bench-agent-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the warm interpreter passes through as another user
        with _cloud(folder / "cloud") as (endpoint, keys), Watch(endpoint) as watch:
            bench = _workspace(folder / "root", endpoint, keys)
            try:
                _measured(report, bench, watch, starts)
            finally:
                bench.metadata.close()
    return report


def _measured(report: Report, bench: Bench, watch: Watch, starts: int) -> None:
    ours: list[Start] = []
    unpacked: list[Start] = []
    floors: list[float] = []
    _agent_started(bench, watch)  # leaves bytecode behind, as the installer does
    with step(f"{starts} starts of the agent, between starts of a bare interpreter"):
        for number in range(starts):
            floors.append(_floor_started(bench, watch))
            ours.append(_agent_started(bench, watch))
            if number % 3 == 0:
                _bytecode_removed(bench.release)
                unpacked.append(_agent_started(bench, watch))
    say(f"The agent beside a bare interpreter ({starts} starts each):")
    report.add("idle_memory_mb", [start.alone_mb for start in ours], "MB")
    report.add("idle_memory_pss_mb", [start.pss_mb for start in ours], "MB")
    report.add("idle_memory_rss_mb", [start.rss_mb for start in ours], "MB")
    report.add("first_poll_ms", [1000 * start.seconds for start in ours], "ms")
    report.add("first_poll_unpacked_ms", [1000 * start.seconds for start in unpacked], "ms")
    report.add("bare_python_ms", [1000 * seconds for seconds in floors], "ms")
    report.ratio("first_poll_to_bare_python", median(start.seconds for start in ours) / median(floors))
    report.versions["agent_python"] = _python_version()


def _agent_started(bench: Bench, watch: Watch) -> Start:
    """Start it as its unit does, wait until it rests, look at it, stop it."""
    watch.forget()
    began = time.monotonic()
    with _process([str(bench.release / "install"), "--run"], _instance_environment(bench, watch)) as process:
        polled = watch.first_poll(PATIENCE)
        wait_until_idle(process.pid)
        processes = family(process.pid)
        if len(processes) < 2:
            raise ScriptError("The agent has no warm interpreter: its memory would be too little.")
        return Start(
            polled - began, memory_alone_mb(processes), memory_mb(processes, "Pss"), memory_mb(processes, "Rss")
        )


def _floor_started(bench: Bench, watch: Watch) -> float:
    """Seconds from the start of a bare interpreter to its poll."""
    host = watch.endpoint.removeprefix("http://")
    body = json.dumps({"QueueUrl": bench.tasks_url, "WaitTimeSeconds": 0})
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": POLL.decode()}
    request = AWSRequest("POST", f"http://{host}/", data=body, headers=headers)
    SigV4Auth(Credentials(bench.keys.access, bench.keys.secret), "sqs", REGION).add_auth(request)
    command = [_python(), "-c", FLOOR, json.dumps([host, dict(request.headers), body])]
    watch.forget()
    began = time.monotonic()
    with _process(command, {"PATH": PATH}) as process:
        polled = watch.first_poll(PATIENCE)
        if process.wait(PATIENCE) != 0:
            raise ScriptError("The queue refused the poll of the bare interpreter.")
    return polled - began


@contextmanager
def _process(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Stopped with SIGTERM at the end."""
    process = subprocess.Popen(command, env=dict(environment), cwd="/", stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(PATIENCE)


def _instance_environment(bench: Bench, watch: Watch) -> dict[str, str]:
    """What the agent's unit has on an instance; its keys come from the metadata service."""
    return {
        "PATH": PATH,
        "AWS_ENDPOINT_URL": watch.endpoint,
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": bench.metadata.endpoint,
        "ORCA_ROOT": str(bench.root),
        "ORCA_USER": bench.user,
    }


def _python() -> str:
    """The interpreter that the agent's installer finds."""
    return shutil.which("python3", path=PATH) or sys.executable


def _python_version() -> str:
    said = subprocess.run([_python(), "--version"], capture_output=True, text=True, check=True)
    return said.stdout.split()[-1]


def _bytecode_removed(release: Path) -> None:
    for cache in release.rglob("__pycache__"):
        shutil.rmtree(cache)


@contextmanager
def _cloud(data: Path) -> Iterator[tuple[str, Keys]]:
    """A local cloud of our own: its address and an administrator's keys."""
    command = [sys.executable, "-m", "agents.local_cloud", "--port", "0", "--data", str(data)]
    command += ["--ssh-port", str(free_port()), "--region", REGION]
    with data.with_suffix(".log").open("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            ready, _, endpoint = (process.stdout.readline() if process.stdout else "").strip().partition(" ")
            if ready != "ready":
                raise ScriptError("The local cloud did not start.", detail=Path(log.name).read_text())
            kept = json.loads((data / "credentials.json").read_text())["accounts"][ACCOUNT]
            yield endpoint, Keys(kept["access_key_id"], kept["secret_access_key"])
        finally:
            process.terminate()
            process.wait(60)


def _workspace(root: Path, endpoint: str, keys: Keys) -> Bench:
    """What Terraform and user data make for an agent: bucket, queues, settings, and the unpacked archive."""
    made: Any = boto3.Session(keys.access, keys.secret, region_name=REGION)
    s3, sqs = (made.client(service, endpoint_url=endpoint) for service in ("s3", "sqs"))
    workspace = new_id()
    bucket, tasks = f"orca-{workspace}", f"orca-{workspace}-tasks.fifo"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    tasks_url = sqs.create_queue(QueueName=tasks, Attributes={"FifoQueue": "true"})["QueueUrl"]
    events_url = sqs.create_queue(QueueName="orca-events")["QueueUrl"]
    place = {"workspace": workspace, "region": REGION, "bucket": bucket}
    settings = {"tasks_queue": tasks, "events_queue_url": events_url, "signing_key": secrets.token_hex(32)}
    body = json.dumps({**place, **settings, "slots": SLOTS, "version": 1}).encode()
    s3.put_object(Bucket=bucket, Key="control/agent.json", Body=body)

    content = build.archive()
    release = root / "opt/orca-agent" / hashlib.sha256(content).hexdigest()
    release.mkdir(parents=True)
    subprocess.run(["tar", "-xzf", "-", "-C", release], input=content, check=True)
    (root / "etc/orca").mkdir(parents=True)
    (root / "etc/orca/agent.json").write_text(json.dumps(place))
    return Bench(endpoint, keys, workspace, root, release, tasks_url, _metadata(keys))


def _metadata(keys: Keys) -> Metadata:
    """The metadata service of an instance whose role has the administrator's keys."""
    role = ("orca", f"arn:aws:iam::{ACCOUNT}:instance-profile/orca", "AIPAORCA")
    facts = Facts(
        instance_id="i-0123456789abcdef0",
        instance_type="t3.small",
        image_id="ami-0",
        account_id=ACCOUNT,
        region=REGION,
        zone=f"{REGION}a",
        address="127.0.0.1",
        hostname="localhost",
        user_data=b"",
        role=role,
    )
    session = Session(
        account_id=ACCOUNT,
        kind="role",
        name="orca",
        owner_id="orca",
        role_arn=f"arn:aws:iam::{ACCOUNT}:role/orca",
        session_name=facts.instance_id,
        access_key_id=keys.access,
        secret_access_key=keys.secret,
        token="",
        expires=int(time.time()) + 6 * 3600,
    )
    return Metadata("127.0.0.1", lambda: facts, lambda: session)
