"""The way of somebody with an account of their own: linked from nothing, built in, and data that goes there and back.

The account is the embedded cloud's second one. Its administrator's keys are used for one thing alone, as its owner
would: to apply the Terraform module that Orca hands out.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

from scripts.orca.console import ScriptError, say
from scripts.orca.demo.newcomer import Newcomer, arrived, terraform_await, workspace_built
from scripts.orca.demo.stages import Walk
from scripts.orca.paths import HOME
from scripts.orca.setup.terraform import terraform_ensure

_SECOND = "200000000002"
_RUN_WITHIN = 120
_FINAL = {"succeeded", "failed", "cancelled", "timed_out", "lost"}
_MAKE = """
import os, pathlib
out = pathlib.Path("output"); out.mkdir(exist_ok=True)
(out / "numbers.txt").write_text("\\n".join(str(n * n) for n in range(1000)))
print("made in", os.environ["ORCA_WORKSPACE"])
"""
_SUM = """
import os, pathlib
found = pathlib.Path(os.environ["ORCA_INPUTS"], "make", "numbers.txt").read_text().split()
print("sum", sum(map(int, found)))
"""
_PIPELINE = """
name: across
description: What is made in the linked account is summed up in Orca's own
workspace: home
steps:
  - {name: make, script: make-numbers, workspace: far}
  - {name: sum, script: sum-numbers}
"""


def walk(walk: Walk) -> None:
    """Every stage in its order."""
    if not walk.configuration.embedded_cloud:
        raise ScriptError("The demo “linked” needs the embedded cloud, which brings a second account.")
    person = arrived(walk)
    with walk.stage("begin a link", "web"):
        link = person.api.post("cloud-accounts/", {"name": "Second account"})
    with walk.stage("be refused without the role", "web", "cloud"):
        _checked(person, link, state="pending")
    with walk.stage("make the role with Terraform", "cloud"):
        _role_make(person, link, walk.folder)
    with walk.stage("have the role checked", "web", "cloud"):
        _checked(person, link, state="linked")
    with walk.stage("build here and there", "terraform", "worker", "cloud", "relay"):
        wanted = [{"name": "far", "cloud_account": link["id"]}, {"name": "home"}]
        asked = [person.api.post("workspaces/", body) for body in wanted]
        built = [workspace_built(person, made) for made in asked]
    with walk.stage("make there, sum up here", "relay", "web", "cloud"):
        _across(person)
    if walk.configuration.options.exit:
        with walk.stage("let Terraform finish", "terraform", "cloud"):
            for workspace in built:
                terraform_await(person, workspace)
    page = f"{walk.configuration.url}/clouds/{link['id']}/"
    walk.facts.update(email=person.email, password=person.password, page=page)
    say(f"\n  The account     {page}")
    say(f"  Sign in as      {person.email}, password {person.password}\n")


def _checked(person: Newcomer, link: dict[str, Any], *, state: str) -> None:
    found = person.api.post(f"cloud-accounts/{link['id']}/check/", {"role": _SECOND})
    for finding in found["checks"]:
        if finding["state"] != "skipped":
            say(f"    | {finding['title']}: {finding['message']}")
    if found["state"] != state:
        raise ScriptError(f"The account is {found['state']}, and not {state}.")


def _role_make(person: Newcomer, link: dict[str, Any], folder: Path) -> None:
    content = person.api.http.get(f"cloud-accounts/{link['id']}/module/").raise_for_status().content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)
    keys = json.loads((HOME / "cloud" / "credentials.json").read_text())["accounts"][_SECOND]
    environment = {
        "PATH": os.environ["PATH"],
        "TF_CLI_CONFIG_FILE": str(HOME / "terraform" / "terraform.rc"),
        "AWS_ENDPOINT_URL": person.walk.configuration.cloud_url,
        "AWS_ACCESS_KEY_ID": keys["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": keys["secret_access_key"],
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    for command in (["init"], ["apply", "-auto-approve"]):
        done = subprocess.run(
            [terraform_ensure(), *command, "-input=false", "-no-color"],
            cwd=folder / "orca-link",
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode != 0:
            raise ScriptError(f"terraform {command[0]} failed.", detail=done.stdout + done.stderr)


def _across(person: Newcomer) -> None:
    for name, text in (("make-numbers", _MAKE), ("sum-numbers", _SUM)):
        person.api.post("scripts/", data={"name": name}, files=[("files", ("main.py", text.encode()))])
    version = person.api.post("pipelines/", {"source": _PIPELINE})
    run = person.api.post(f"pipelines/{version['pipeline']}/runs/", {"parameters": {}})
    path = f"runs/{run['id']}/"
    found = person.api.wait(path, lambda answer: answer["state"] in _FINAL, within=_RUN_WITHIN)
    if found["state"] != "succeeded":
        said = "; ".join(f"{step['name']}: {step['state']} {step['message']}" for step in found["steps"])
        raise ScriptError(f"The run {found['state']}: {said}")
    last = next(step for step in found["steps"] if step["name"] == "sum")
    lines = [line["text"] for line in person.api.get(f"{path}steps/{last['id']}/log/") if line["stream"] == "out"]
    expected = f"sum {sum(n * n for n in range(1000))}"
    if lines != [expected]:
        raise ScriptError(f"The last step printed {lines}, and not {expected}.")
    say(f"    | {expected}")
