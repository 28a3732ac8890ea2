"""From pressing Create to the agent's first heartbeat, and four workspaces at once.

Floor: ``terraform init`` and ``terraform apply -auto-approve`` of the same root module by hand, with the variables that
Orca would give, in the same cloud and between Orca's turns.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import boto3

from scripts.orca.bench.figures import Report
from scripts.orca.bench.installation import BUILD_SECONDS, Orca, Person, orca_running, person_signed_up
from scripts.orca.bench.memory import sampled_mb
from scripts.orca.console import ScriptError, say, step
from scripts.orca.paths import PYTHON, ROOT

AT_ONCE: Final = 4
_BUILT: Final = {"ready", "failed", "degraded"}


def measure(arguments: list[str]) -> Report:
    """``--rounds N``: workspaces by Orca and by hand, in turn, before the four at once."""
    reader = argparse.ArgumentParser(prog="scripts/bench/provision")
    reader.add_argument("--rounds", type=int, default=3, help="turns of each (default: %(default)s)")
    rounds: int = reader.parse_args(arguments).rounds
    report = Report("provision")
    with tempfile.TemporaryDirectory(prefix="orca-bench-provision-") as name:
        folder = Path(name)
        most = str(rounds + AT_ONCE)
        with orca_running(folder, ORCA_MAX_WORKSPACES=most) as orca:
            _measured(report, orca, folder, rounds)
    return report


def _measured(report: Report, orca: Orca, folder: Path, rounds: int) -> None:
    person = person_signed_up(orca)
    ready, applied, by_hand = [], [], []
    for turn in range(1, rounds + 1):
        with step(f"Turn {turn}: terraform apply by hand"):
            by_hand.append(_by_hand(orca, folder / f"by-hand-{turn}"))
        with step(f"Turn {turn}: a workspace of Orca's"):
            found = _workspaces_built(person, [f"Turn {turn}"])
            ready.append(found.ready_seconds)
            applied.append(found.applied_seconds)
    with step(f"{AT_ONCE} workspaces at once"), sampled_mb(orca.process.pid) as samples:
        at_once = _workspaces_built(person, [f"Beside others {number}" for number in range(1, AT_ONCE + 1)])
    say(f"A workspace by Orca and by hand, {rounds} turns, then {AT_ONCE} at once:")
    report.add("ready_s", ready, "s")
    report.add("applied_s", applied, "s")
    report.add("raw_apply_s", by_hand, "s")
    report.add(f"parallel_{AT_ONCE}_s", [at_once.ready_seconds], "s")
    report.add(f"parallel_{AT_ONCE}_applied_s", [at_once.applied_seconds], "s")
    report.add("peak_memory_mb", [max(samples)], "MB")
    report.ratio("ready_to_raw_apply", median(ready) / median(by_hand))
    report.ratio(f"parallel_{AT_ONCE}_to_one", at_once.ready_seconds / median(ready))
    report.versions["terraform"] = _terraform_version()


@dataclass(frozen=True)
class Built:
    """Seconds from the first POST until all are ready, and until Terraform has ended too."""

    ready_seconds: float
    applied_seconds: float


def _workspaces_built(person: Person, names: list[str]) -> Built:
    """Ask for these workspaces, one POST after the other, and watch them all through the API."""
    began = time.monotonic()
    waiting = [person.post("workspaces/", {"name": name})["id"] for name in names]
    paths = [f"workspaces/{workspace}/" for workspace in waiting]
    for path in paths:
        found = person.until(path, lambda w: w["state"] in _BUILT, seconds=BUILD_SECONDS)
        if found["state"] != "ready":
            raise ScriptError(f"The workspace is {found['state']}.", detail=json.dumps(found))
    ready = time.monotonic() - began
    for path in paths:
        person.until(path, lambda w: w["active_run"] is None, seconds=BUILD_SECONDS)
    return Built(ready, time.monotonic() - began)


def _by_hand(orca: Orca, folder: Path) -> float:
    """Seconds that init and apply take; its instance is gone afterwards, so that it disturbs nobody."""
    given = _given(orca)
    workspace = given["variables"]["workspace_id"]
    shutil.copytree(ROOT / "terraform", folder, ignore=shutil.ignore_patterns(".terraform*"))
    root, variables = folder / "envs" / "workspace", folder / "variables.tfvars.json"
    variables.touch(mode=0o600)
    variables.write_text(json.dumps(given["variables"]))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_", "ORCA_"))},
        **orca.environment(),
        "AWS_EC2_METADATA_DISABLED": "true",
        "TF_CLI_CONFIG_FILE": str(orca.home / "terraform" / "terraform.rc"),
    }
    backend = [f"-backend-config={name}={value}" for name, value in given["backend"].items()]
    began = time.monotonic()
    _terraform(root, environment, "init", "-input=false", *backend)
    apply = ["apply", "-input=false", "-auto-approve", f"-var-file={variables}"]
    _terraform(root, environment | {"TF_WORKSPACE": workspace}, *apply)
    took = time.monotonic() - began
    _instances_terminate(orca, workspace)
    return took


def _given(orca: Orca) -> dict[str, Any]:
    """What Orca itself would tell Terraform."""
    lines = (orca.home / "run" / "environment").read_text().splitlines()
    published = dict(shlex.split(line)[0].split("=", 1) for line in lines if not line.startswith("#"))
    done = subprocess.run(
        [PYTHON, "-m", "scripts.orca.bench.provision_variables"],
        cwd=ROOT,
        env={**os.environ, **published},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ScriptError("The variables of a workspace cannot be had.", detail=done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _terraform(folder: Path, environment: Mapping[str, str], *command: str) -> None:
    program = os.environ.get("ORCA_TERRAFORM", "terraform")
    done = subprocess.run(
        [program, *command, "-no-color"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ScriptError(f"terraform {command[0]} failed.", detail=done.stdout[-2000:] + done.stderr)


def _instances_terminate(orca: Orca, workspace: str) -> None:
    keys = orca.environment()
    made: Any = boto3.Session(
        keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], region_name=keys["AWS_DEFAULT_REGION"]
    )
    ec2 = made.client("ec2", endpoint_url=orca.cloud_url)
    tagged = [{"Name": "tag:orca:workspace", "Values": [workspace]}]
    found = ec2.describe_instances(Filters=tagged)["Reservations"]
    ec2.terminate_instances(InstanceIds=[i["InstanceId"] for group in found for i in group["Instances"]])


def _terraform_version() -> str:
    program = os.environ.get("ORCA_TERRAFORM", "terraform")
    said = subprocess.run([program, "version", "-json"], capture_output=True, text=True, check=True)
    return str(json.loads(said.stdout)["terraform_version"])
