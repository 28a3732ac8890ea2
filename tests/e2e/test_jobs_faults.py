"""Jobs among killed processes, crashed instances, strangers' catalogues and budgets that are too small for all."""

from __future__ import annotations

import io
import json
import os
import secrets
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts.orca.bench.installation import Lab, Orca, lab_built
from scripts.orca.demo.foreign import foreign_make
from scripts.orca.demo.scenes import Catalogue
from scripts.orca.demo.site import served
from scripts.orca.paths import ROOT
from tests.fixtures.cloud import wait_until

pytestmark = pytest.mark.cloud

# Leaves one file for each item: what it was given, and the number of the shard.
COPY = """import json, os, pathlib, shutil, sys, time
given, left = pathlib.Path(os.environ["ORCA_INPUT"]), pathlib.Path(os.environ["ORCA_OUTPUT"])
time.sleep(float(sys.argv[1]))
if sys.argv[2:] and int(os.environ["ORCA_SHARD"]) in (3, 7):  # fails once
    mark = pathlib.Path.home() / f"{sys.argv[2]}-{os.environ['ORCA_SHARD']}"
    if not mark.exists():
        mark.touch()
        sys.exit(3)
for written in sorted((given / "metadata").glob("*.json")):
    item = json.loads(written.read_text())
    (left / item["id"]).mkdir()
    shutil.copy(given / item["files"]["preview"], left / item["id"] / "preview.jpg")
    (left / item["id"] / "shard").write_text(os.environ["ORCA_SHARD"])
"""
# Says of each item how large its file is.
SIZES = """import json, os, pathlib
given, left = pathlib.Path(os.environ["ORCA_INPUT"]), pathlib.Path(os.environ["ORCA_OUTPUT"])
for number, written in enumerate(sorted((given / "metadata").glob("*.json"))):
    item = json.loads(written.read_text())
    told = {"of": item["id"], "size": (given / item["files"]["file"]).stat().st_size}
    (left / f"{os.environ['ORCA_SHARD']}-{number}.json").write_text(json.dumps(told))
"""
RACERS = 6


@pytest.fixture(scope="module")
def script(lab: Lab) -> str:
    return lab.script(COPY)


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[tuple[Catalogue, Any]]:
    """Somebody else's catalogue, and the site that it is on; each of its answers takes a while."""
    with served(tmp_path / "foreign", latency=0.4) as site:
        yield foreign_make(tmp_path / "foreign", base_url=site.url), site


def submission(catalogue: str, script: str, *, seconds: float = 0, **more: Any) -> dict[str, Any]:
    data = {"kind": "stac", "url": catalogue, "assets": ["preview"]}
    given = {"name": f"faults-{secrets.token_hex(3)}", "script": script, "data": data, "arguments": [str(seconds)]}
    return {**given, "shards": {"number": 10}, **more}


def ended(lab: Lab, job: Any, *, seconds: float = 180) -> Any:
    return lab.person.until(f"jobs/{job['id']}/", lambda found: found["phase"] == "ended", seconds=seconds)


def everything_is_there_once(lab: Lab, job: Any, items: set[str]) -> None:
    """Each shard has ended well, none is missing or double, and each item has left what it should, once."""
    assert (job["state"], job["shards"], job["items"]) == ("succeeded", 10, len(items)), job["message"]
    page = lab.person.get(f"jobs/{job['id']}/shards/", page_size=100)
    counted = [shard for shard in page["results"] if not shard["superseded"]]
    assert [(shard["number"], shard["state"]) for shard in counted] == [(n, "succeeded") for n in range(1, 11)]
    made_once(archive_of(lab, job), items)
    index = httpx.get(lab.person.get(f"jobs/{job['id']}/outputs/")["url"], trust_env=False).json()
    assert {item: sorted(paths) for item, paths in index["items"].items()} == {
        item: [f"{item}/preview.jpg", f"{item}/shard"] for item in items
    }


def archive_of(lab: Lab, job: Any) -> bytes:
    link = lab.person.get(f"jobs/{job['id']}/archive/")["url"]
    return httpx.get(link, timeout=60, trust_env=False).raise_for_status().content


def made_once(archive: bytes, items: set[str]) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        assert files.testzip() is None
        wanted = [f"{item}/{name}" for item in items for name in ("preview.jpg", "shard")]
        assert Counter(files.namelist()) == Counter(wanted)
        shards = Counter(int(files.read(f"{item}/shard")) for item in items)
    assert set(shards) == set(range(1, 11))


def test_who_searches_is_killed_and_another_goes_on(
    lab: Lab, running_orca: Orca, script: str, foreign: tuple[Catalogue, Any]
) -> None:
    catalogue, site = foreign
    job = lab.person.post("jobs/", submission(catalogue.root, script))
    wait_until(lambda: bool(site.requests), 30, "the search")
    before = running_orca.pid_of("jobs")
    running_orca.kill("jobs")
    assert lab.person.get(f"jobs/{job['id']}/")["phase"] == "searching"
    wait_until(lambda: running_orca.pid_of("jobs") not in {0, before}, 30, "its return")
    everything_is_there_once(lab, ended(lab, job), {item["id"] for item in catalogue.items})


def test_an_instance_crashes_in_the_middle_and_each_shard_is_done_once_in_effect(
    lab: Lab, running_orca: Orca, script: str, foreign: tuple[Catalogue, Any]
) -> None:
    catalogue, _ = foreign
    job = lab.person.post("jobs/", submission(catalogue.root, script, seconds=4))
    lab.person.until(
        f"jobs/{job['id']}/",
        lambda found: found["progress"]["succeeded"] and found["progress"]["states"].get("running"),
    )
    [instance] = lab.person.get(f"workspaces/{lab.workspace}/")["instances"]
    before = init_of(running_orca, instance["instance_id"])
    running_orca.kill_pid(before)
    wait_until(lambda: init_of(running_orca, instance["instance_id"]) not in {0, before}, 30, "its return")
    everything_is_there_once(lab, ended(lab, job), {item["id"] for item in catalogue.items})


def init_of(orca: Orca, instance: str) -> int:
    """The first process of an instance: with it everything there is gone, and the instance boots anew."""
    health = httpx.get(f"{orca.cloud_url}/_orca/health", timeout=10, trust_env=False).json()
    return next((int(found["pid"]) for found in health["instances"] if found["id"] == instance), 0)


def test_the_command_line_follows_a_job_over_somebody_elses_catalogue(
    lab: Lab, script: str, foreign: tuple[Catalogue, Any], tmp_path: Path
) -> None:
    catalogue, _ = foreign
    (tmp_path / "job.yaml").write_text(json.dumps(submission(catalogue.root, script)))  # JSON is YAML
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCA_")}
    token = str(lab.person.api.headers["Authorization"]).removeprefix("Bearer ")
    own = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "ORCA_URL": lab.person.url, "ORCA_TOKEN": token}
    command = [sys.executable, "-m", "agents.orca_cli", "job", "submit", "job.yaml", "--follow", "--to", "got"]
    done = subprocess.run(
        [*command, "--json"],
        cwd=tmp_path,
        env={**kept, **own, "ORCA_CONFIG_DIR": str(tmp_path / "config")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    job = json.loads(done.stdout)
    items = {item["id"] for item in catalogue.items}
    assert (job["state"], job["items"]) == ("succeeded", len(items))
    made_once((tmp_path / job["archive"]).read_bytes(), items)


def test_failed_shards_are_tried_again_alone_and_what_came_out_is_the_next_jobs_input(
    lab: Lab, script: str, foreign: tuple[Catalogue, Any]
) -> None:
    catalogue, site = foreign
    items = {item["id"] for item in catalogue.items}
    asked = submission(catalogue.root, script, retries={"count": 0})
    asked["arguments"].append(asked["name"])
    job = lab.person.post("jobs/", asked)
    first = ended(lab, job)
    assert (first["state"], first["progress"]["states"]) == ("failed", {"succeeded": 8, "failed": 2})
    site.requests.clear()
    lab.person.post(f"jobs/{job['id']}/retry/")
    again = ended(lab, job)
    everything_is_there_once(lab, again, items)
    assert again["manifest_sha256"] == first["manifest_sha256"]
    assert set(site.requests) == {"/files/thumbnail.jpg"}  # nothing is searched for again
    shards = lab.person.get(f"jobs/{job['id']}/shards/", page_size=100)["results"]
    assert [shard["number"] for shard in shards if not shard["origin"]] == [3, 7]

    given = {"name": "sizes", "script": lab.script(SIZES), "input_job": job["id"], "shards": {"number": 4}}
    following = ended(lab, lab.person.post("jobs/", given))
    assert (following["state"], following["items"]) == ("succeeded", 2 * len(items)), following["message"]
    with zipfile.ZipFile(io.BytesIO(archive_of(lab, following))) as files:
        told = [json.loads(files.read(name)) for name in files.namelist()]
    assert Counter(one["of"] for one in told) == Counter(
        f"{item}/{name}" for item in items for name in ("preview.jpg", "shard")
    )
    assert all(one["size"] > 0 for one in told)


def test_a_job_is_cancelled_and_keeps_what_it_has(lab: Lab, script: str, foreign: tuple[Catalogue, Any]) -> None:
    catalogue, _ = foreign
    job = lab.person.post("jobs/", submission(catalogue.root, script, seconds=5))
    lab.person.until(
        f"jobs/{job['id']}/",
        lambda found: found["progress"]["succeeded"] and found["progress"]["states"].get("running"),
    )
    lab.person.post(f"jobs/{job['id']}/cancel/")
    found = ended(lab, job, seconds=60)
    states = found["progress"]["states"]
    assert (found["state"], set(states), sum(states.values())) == ("cancelled", {"succeeded", "cancelled"}, 10)
    with zipfile.ZipFile(io.BytesIO(archive_of(lab, job))) as files:
        assert len({files.read(name) for name in files.namelist() if name.endswith("/shard")}) == states["succeeded"]


def test_a_budget_is_reached_in_the_middle_and_what_came_out_is_kept(
    lab: Lab, script: str, foreign: tuple[Catalogue, Any]
) -> None:
    catalogue, _ = foreign
    bounds = {"retries": {"count": 0}, "limits": {"seconds": 20, "output_mb": 1, "log_mb": 1}, "nodes": 1}
    asked = submission(catalogue.root, script, seconds=4, **bounds)
    one = lab.person.post("jobs/preview/", {**asked, "shards": {"number": 1}})
    # Enough for one shard at its worst; as they are cheaper than that, some more, and by far not all ten.
    budget = Decimal(one["estimate_most"]) * Decimal("1.006")
    job = ended(lab, lab.person.post("jobs/", {**asked, "budget": f"{budget:.9f}"}))
    states = job["progress"]["states"]
    assert (job["reason"], set(states), sum(states.values())) == ("budget_reached", {"succeeded", "cancelled"}, 10)
    assert 1 <= states["succeeded"] <= 6
    assert 0 < Decimal(job["cost"]) <= budget
    with zipfile.ZipFile(io.BytesIO(archive_of(lab, job))) as files:
        assert len({files.read(name) for name in files.namelist() if name.endswith("/shard")}) == states["succeeded"]


def test_jobs_race_for_a_small_budget_and_it_holds(running_orca: Orca, foreign: tuple[Catalogue, Any]) -> None:
    catalogue, _ = foreign
    mine = lab_built(running_orca, "poor")
    person, path = mine.person, f"workspaces/{mine.workspace}/"
    try:
        script = mine.script(COPY)
        wait_until(lambda: disk_is_held(person), 90, "what the disk will cost is set aside")
        stands = person.get("budget/")
        taken = sum(Decimal(stands[name]) for name in ("spent", "reserved", "held"))
        hard = taken + Decimal("1.75")  # three jobs of half a dollar, and not four
        person.ask("PATCH", "budget/", json={"hard": str(hard)})
        limits = {"seconds": 30, "output_mb": 10, "log_mb": 1}
        asked = submission(catalogue.root, script, budget="0.50", limits=limits, nodes=1)
        answers = raced(person, asked)
        accepted = [answer.json() for answer in answers if answer.status_code == 201]
        refused = [answer for answer in answers if answer.status_code != 201]
        assert (len(accepted), len(refused)) == (3, RACERS - 3), [answer.text for answer in answers]
        assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(429, "budget_reached")}
        assert all("is left" in answer.text for answer in refused)
        for job in accepted:
            assert ended(mine, job)["state"] == "succeeded"
            cost = person.get(f"runs/{job['run']}/cost/")
            assert 0 < Decimal(cost["total"]) <= Decimal("0.50")
        month = person.get("usage/")["months"][0]["month"]
        assert 0 < Decimal(person.get(f"usage/{month}/")["used"]) <= hard
        person.until("budget/", lambda found: Decimal(found["reserved"]) == 0, seconds=30)
        assert Decimal(person.get("budget/")["spent"]) <= hard
    finally:
        person.until(path, lambda found: found["active_run"] is None, seconds=60)
        person.post(path + "destroy/")


def disk_is_held(person: Any) -> bool:
    """Whether what the disk will cost is set aside, which EC2 has to tell of first; a change has that looked at."""
    return Decimal(person.ask("PATCH", "budget/", json={"hard": "1000"})["held"]) > 0


def raced(person: Any, asked: dict[str, Any]) -> list[httpx.Response]:
    """The same asked so many times at once; the answers."""
    start, answers = threading.Barrier(RACERS), []

    def race() -> None:
        with httpx.Client(base_url=person.api.base_url, headers=person.api.headers, timeout=60, trust_env=False) as api:
            start.wait()
            answers.append(api.post("jobs/", json=asked))

    threads = [threading.Thread(target=race) for _ in range(RACERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
