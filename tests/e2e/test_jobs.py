"""A job on real instances: made for it, killed in the middle, taken away afterwards; what came out is one archive."""

from __future__ import annotations

import io
import secrets
import time
import zipfile
from typing import Any

import boto3
import httpx
import pytest

from scripts.orca.bench.installation import Lab, Orca, lab_built, orca_running
from tests.fixtures.cloud import wait_until

pytestmark = pytest.mark.cloud

# How many items there are, and how many of them are enough where each takes long.
COUNT, FEWER = 24, 14
# Writes what it was given, one file for each item.
WORK = """import json, os, pathlib, sys, time
top, out = pathlib.Path(os.environ["ORCA_INPUT"]), pathlib.Path(os.environ["ORCA_OUTPUT"])
time.sleep(float(sys.argv[1]))
for meta in sorted((top / "metadata").glob("*.json")):
    item = json.loads(meta.read_text())
    content = (top / item["files"]["file"]).read_bytes()
    (out / f"{meta.stem}.out").write_bytes(content.upper())
print("shard", os.environ["ORCA_SHARD"], "of", os.environ["ORCA_SHARDS"])
"""


@pytest.fixture(scope="module")
def orca(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with orca_running(tmp_path_factory.mktemp("jobs"), ORCA_NODES_LINGER="5", ORCA_INSTANCE_SILENCE="15") as found:
        yield found


@pytest.fixture(scope="module")
def lab(orca: Orca) -> Lab:
    return lab_built(orca)


@pytest.fixture(scope="module")
def items(lab: Lab) -> str:
    """A prefix in the workspace's bucket with some small files."""
    prefix = f"scenes-{secrets.token_hex(3)}/"
    for number in range(COUNT):
        text = f"scene {number}"
        about = {"path": f"{prefix}s{number}.txt", "size": len(text)}
        link = lab.person.post(f"workspaces/{lab.workspace}/files/uploads/", about)
        httpx.put(link["urls"][0], content=text, trust_env=False).raise_for_status()
    return f"files/{prefix}"


def ended(lab: Lab, job: str, seconds: float = 400) -> Any:
    return lab.person.until(f"jobs/{job}/", lambda found: found["phase"] == "ended", seconds=seconds)


def submitted(lab: Lab, items: str, *, limit: int = COUNT, **given: Any) -> Any:
    script = lab.script(WORK)
    data = {"kind": "bucket", "prefix": items, "limit": limit}
    return lab.person.post(
        "jobs/", {"name": "upper", "script": script, "data": data, "shards": {"most_items": 1}, **given}
    )


def up(lab: Lab) -> set[str]:
    found = lab.person.get(f"workspaces/{lab.workspace}/")
    return {instance["instance_id"] for instance in found["instances"] if instance["state"] == "running"}


def test_from_the_items_to_the_archive(lab: Lab, items: str) -> None:
    job = submitted(lab, items, arguments=["0.2"], nodes=1)
    found = ended(lab, job["id"])
    assert (found["state"], found["shards"], found["items"]) == ("succeeded", COUNT, COUNT)
    archive = httpx.get(lab.person.get(f"jobs/{job['id']}/archive/")["url"], trust_env=False).content
    files = zipfile.ZipFile(io.BytesIO(archive))
    assert sorted(files.namelist()) == sorted(f"s{number}.txt.out" for number in range(COUNT))
    assert files.read("s7.txt.out") == b"SCENE 7"
    index = httpx.get(lab.person.get(f"jobs/{job['id']}/outputs/")["url"], trust_env=False).json()
    assert index["items"]["s7.txt"] == ["s7.txt.out"]


def test_a_node_is_made_dies_in_the_middle_and_nothing_is_lost(orca: Orca, lab: Lab, items: str) -> None:
    (first,) = up(lab)
    # Enough work that the second node finds some when it comes.
    job = submitted(lab, items, limit=FEWER, arguments=["14"], nodes=2)
    began = time.monotonic()

    def at_work() -> str:
        shards = lab.person.get(f"jobs/{job['id']}/shards/", state="running")["results"]
        return next((shard["instance_id"] for shard in shards if shard["instance_id"] not in {first, ""}), "")

    second = wait_until(at_work, 240, "a shard on the second node")
    joined = time.monotonic()
    keys: dict[str, Any] = {name.lower(): value for name, value in orca.environment().items() if "KEY" in name}
    ec2 = boto3.client("ec2", region_name="eu-central-1", endpoint_url=orca.cloud_url, **keys)
    ec2.terminate_instances(InstanceIds=[second])
    found = ended(lab, job["id"], 600)
    shards = lab.person.get(f"jobs/{job['id']}/shards/", page_size=200)["results"]
    taken_over = [shard["name"] for shard in shards if shard["executions"] > 1]
    print(f"node at work after {joined - began:.0f} s, job ended {time.monotonic() - joined:.0f} s after it was killed")
    print(f"taken over: {taken_over}")
    assert taken_over
    assert (found["state"], found["progress"]["succeeded"]) == ("succeeded", FEWER)
    wait_until(lambda: up(lab) == {first}, 300, "the nodes are gone")
