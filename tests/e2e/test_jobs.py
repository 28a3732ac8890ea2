"""A job on real instances: made for it, hanging, killed, taken away afterwards; what came out is one archive."""

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
# The same, but each mark that lies on the instance makes one shard hang there: the first that takes it away.
HANGS = """import os, pathlib, sys, time
for mark in pathlib.Path.home().glob(sys.argv[2] + "-*.mark"):
    try:
        mark.rename(mark.with_suffix(".taken"))
    except FileNotFoundError:
        continue
    time.sleep(900)
"""
MARKS = """import pathlib, sys
for number in range(int(sys.argv[2])):
    (pathlib.Path.home() / f"{sys.argv[1]}-{number}.mark").touch()
"""
HANGING = 2


@pytest.fixture(scope="module")
def orca(tmp_path_factory: pytest.TempPathFactory) -> Any:
    # Nodes stay long enough for the next test to find them.
    told = {"ORCA_NODES_LINGER": "15", "ORCA_INSTANCE_SILENCE": "15", "ORCA_SHARD_SLOW_AFTER": "5"}
    with orca_running(tmp_path_factory.mktemp("jobs"), **told) as found:
        yield found


@pytest.fixture(scope="module")
def lab(orca: Orca) -> Lab:
    return lab_built(orca)


@pytest.fixture(scope="module")
def first(lab: Lab) -> str:
    """The instance that the workspace always has."""
    (found,) = up(lab)
    return found


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


def submitted(lab: Lab, items: str, *, work: str = WORK, limit: int = COUNT, **given: Any) -> Any:
    script = lab.script(work)
    data = {"kind": "bucket", "prefix": items, "limit": limit}
    return lab.person.post(
        "jobs/", {"name": "upper", "script": script, "data": data, "shards": {"most_items": 1}, **given}
    )


def up(lab: Lab) -> set[str]:
    found = lab.person.get(f"workspaces/{lab.workspace}/")
    return {instance["instance_id"] for instance in found["instances"] if instance["state"] == "running"}


def archive_of(lab: Lab, job: str) -> zipfile.ZipFile:
    """What has come out: one file for each item, and no other."""
    content = httpx.get(lab.person.get(f"jobs/{job}/archive/")["url"], trust_env=False).content
    files = zipfile.ZipFile(io.BytesIO(content))
    assert sorted(files.namelist()) == sorted(f"s{number}.txt.out" for number in range(COUNT))
    return files


def test_from_the_items_to_the_archive(lab: Lab, first: str, items: str) -> None:
    job = submitted(lab, items, arguments=["0.2"], nodes=1)
    found = ended(lab, job["id"])
    assert (found["state"], found["shards"], found["items"]) == ("succeeded", COUNT, COUNT)
    files = archive_of(lab, job["id"])
    assert files.read("s7.txt.out") == b"SCENE 7"
    index = httpx.get(lab.person.get(f"jobs/{job['id']}/outputs/")["url"], trust_env=False).json()
    assert index["items"]["s7.txt"] == ["s7.txt.out"]


def test_what_hangs_on_one_instance_is_done_on_another(lab: Lab, first: str, items: str) -> None:
    """Two shards hang on the first instance, which has free slots besides: it leaves their twins to the other one."""
    mark = secrets.token_hex(4)
    marked = lab.person.ended(lab.run(MARKS, arguments=[mark, str(HANGING)]))
    assert marked["state"] == "succeeded"
    holds = submitted(lab, items, work="import time; time.sleep(900)", nodes=2, shards={"number": 1})
    wait_until(lambda: len(up(lab)) == 2, 240, "a second node")
    (second,) = up(lab) - {first}
    job = submitted(lab, items, work=HANGS + WORK, arguments=["0.5", mark], nodes=2)
    lab.person.post(f"jobs/{holds['id']}/cancel/")
    began = time.monotonic()
    found = ended(lab, job["id"])
    print(f"ended {time.monotonic() - began:.0f} s after it was submitted")
    assert (found["state"], found["progress"]["states"]) == ("succeeded", {"succeeded": COUNT})
    archive_of(lab, job["id"])
    pairs = twins_of(lab, job["id"])
    assert len(pairs) == HANGING
    for slow, twin in pairs:
        assert (slow["instance_id"], twin["instance_id"]) == (first, second)
        assert (slow["superseded"], twin["superseded"], twin["state"]) == (True, False, "succeeded")
    wait_until(lambda: {slow["state"] for slow, _ in twins_of(lab, job["id"])} == {"cancelled"}, 60, "their end")


def twins_of(lab: Lab, job: str) -> list[tuple[Any, Any]]:
    """The shards that were begun twice, each with its twin."""
    shards = lab.person.get(f"jobs/{job}/shards/", page_size=200)["results"]
    pairs = (sorted((s for s in shards if s["number"] == n), key=lambda s: str(s["id"])) for n in range(1, COUNT + 1))
    return [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]


def test_a_node_is_made_dies_in_the_middle_and_nothing_is_lost(orca: Orca, lab: Lab, first: str, items: str) -> None:
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
