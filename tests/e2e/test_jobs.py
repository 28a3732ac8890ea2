"""A job on real instances: made for it, killed in the middle, taken away afterwards; what came out is one archive."""

from __future__ import annotations

import io
import json
import secrets
import time
import zipfile
from typing import Any

import httpx
import pytest

from scripts.orca.bench.installation import Lab, Orca, lab_built, orca_running
from tests.fixtures.cloud import wait_until

pytestmark = pytest.mark.cloud

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
    """A prefix in the workspace's bucket with twelve small files."""
    prefix = f"scenes-{secrets.token_hex(3)}/"
    for number in range(12):
        text = f"scene {number}"
        about = {"path": f"{prefix}s{number}.txt", "size": len(text)}
        link = lab.person.post(f"workspaces/{lab.workspace}/files/uploads/", about)
        httpx.put(link["urls"][0], content=text, trust_env=False).raise_for_status()
    return f"files/{prefix}"


def ended(lab: Lab, job: str, seconds: float = 400) -> Any:
    return lab.person.until(f"jobs/{job}/", lambda found: found["phase"] == "ended", seconds=seconds)


def test_a_job_over_two_nodes(lab: Lab, items: str) -> None:
    script = lab.script(WORK)
    job = lab.person.post(
        "jobs/",
        {
            "name": "upper",
            "script": script,
            "arguments": ["3"],
            "data": {"kind": "bucket", "prefix": items},
            "nodes": 2,
            "shards": {"most_items": 1},
        },
    )
    began = time.monotonic()
    found = ended(lab, job["id"])
    print(json.dumps({**found, "took": time.monotonic() - began}, indent=1))
    assert (found["state"], found["shards"], found["items"]) == ("succeeded", 12, 12)
    archive = httpx.get(lab.person.get(f"jobs/{job['id']}/archive/")["url"]).content
    files = zipfile.ZipFile(io.BytesIO(archive))
    assert sorted(files.namelist()) == sorted(f"s{number}.txt.out" for number in range(12))
    assert files.read("s7.txt.out") == b"SCENE 7"
    index = httpx.get(lab.person.get(f"jobs/{job['id']}/outputs/")["url"]).json()
    assert index["items"]["s7.txt"] == ["s7.txt.out"]
    shards = lab.person.get(f"jobs/{job['id']}/shards/")["results"]
    print({shard["instance_id"] for shard in shards})
    wait_until(lambda: _up(lab) == 1, 300)


def _up(lab: Lab) -> int:
    found = lab.person.get(f"workspaces/{lab.workspace}/")
    return sum(instance["state"] == "running" for instance in found["instances"])
