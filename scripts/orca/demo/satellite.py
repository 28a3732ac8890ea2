"""The way of a researcher: one script over a small sky of scenes, on one node and on four, and what it cost.

The sky is a static STAC catalogue of invented scenes in the shape of CBERS-4's, served on loopback. Nodes are instances
that Terraform makes because the job asks for them. On one machine they share its cores, so four of them compute no
faster than one: each scene therefore waits a while, as it would for a slow archive, and that wait is what speeds up.
"""

from __future__ import annotations

import io
import time
import zipfile
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import httpx
from PIL import Image

from agents.orca_agent.steps.engine import Engine
from scripts.orca.console import ScriptError, say
from scripts.orca.demo.newcomer import Newcomer, arrived, terraform_await, workspace_built
from scripts.orca.demo.scenes import catalogue_make
from scripts.orca.demo.site import served
from scripts.orca.demo.stages import Walk
from scripts.orca.engine import engine_of_instances
from scripts.orca.images import images_ensure
from scripts.orca.paths import ROOT

_EXAMPLE: Final = ROOT / "examples" / "cbers"
_NODES: Final = 4
_SHARDS: Final = 32
_SLOTS: Final = 4  # of an instance
_WAIT: Final = 2.0  # seconds of each scene
_DATES: Final = [date(2019, 1, 1) + timedelta(days=26 * number) for number in range(4)]
_PATHS, _ROWS = range(150, 154), (100, 101, 102, 103)
_JOB_WITHIN: Final = 600
_NODES_WITHIN: Final = 300


@dataclass(frozen=True)
class Done:
    """A job that has ended well: when its shards began and ended, on how many instances, and all that it took."""

    job: dict[str, Any]
    seconds: float
    instances: int
    whole: float

    @property
    def id(self) -> str:
        return str(self.job["id"])

    def told(self) -> str:
        """In one line."""
        shards, items = self.job["shards"], self.job["items"]
        return (
            f"{items} scenes in {shards} shards on {self.instances} instances: {self.seconds:.1f} s from the first "
            f"shard's start to the last one's end, {self.whole:.1f} s from the submission to the archive"
        )


def walk(walk: Walk) -> None:
    """Every stage in its order."""
    if not walk.configuration.embedded_cloud:
        raise ScriptError("The demo “satellite” needs the embedded cloud: its catalogue is on this machine alone.")
    sky = walk.folder / "sky"
    with walk.stage("make a small sky"):
        made = catalogue_make(sky, paths=_PATHS, rows=_ROWS, dates=_DATES)
    with served(sky) as site:
        _walk(walk, f"{site.url}/{made.root}", {item["id"] for item in made.items})


def _walk(walk: Walk, catalogue: str, scenes: set[str]) -> None:
    person = arrived(walk)
    with walk.stage("build the workspace", "terraform", "worker", "cloud", "relay"):
        workspace = workspace_built(person, person.api.post("workspaces/", {"name": "sky"}))
    with walk.stage("push the example", "web"):
        _push(person)
    with walk.stage("look at what there is", "web"):
        _preview(person, catalogue, len(scenes))
    with walk.stage("try it on a few scenes", "relay", "worker", "cloud"):
        _job(person, catalogue, nodes=1, limit=_SLOTS, shards={"number": _SLOTS})
    with walk.stage("blur it on one node", "relay", "worker", "cloud"):
        one = _job(person, catalogue, nodes=1)
    with walk.stage("start three more nodes", "terraform", "worker", "cloud", "relay"):
        terraform_await(person, workspace)
        _nodes_started(person, workspace, catalogue)
    with walk.stage("blur it on four nodes", "relay", "worker", "cloud"):
        four = _job(person, catalogue, nodes=_NODES)
    speed_up = _compare(walk, one, four)
    with walk.stage("fetch the archive", "web", "cloud"):
        files = _fetch(person, four, walk.folder / "blurred.zip", scenes)
    with walk.stage("blur some in a container", "relay", "worker", "cloud"):
        contained = _contained(person, catalogue)
    with walk.stage("read the month's statement", "web", "worker"):
        _statement(person, [one, four, *contained])
    if walk.configuration.options.exit:
        with walk.stage("let Terraform finish", "terraform", "cloud"):
            terraform_await(person, workspace)
    page = f"{walk.configuration.url}/jobs/{four.id}/"
    walk.facts.update(email=person.email, password=person.password, page=page, files=str(files), speed_up=speed_up)
    say(f"\n  The job         {page}")
    say(f"  The statement   {walk.folder / 'statement.pdf'}")
    say(f"  The pictures    {walk.folder / 'blurred.zip'}")
    say(f"  Sign in as      {person.email}, password {person.password}\n")


def _push(person: Newcomer) -> None:
    names = [path for path in sorted(_EXAMPLE.iterdir()) if path.is_file() and path.suffix != ".md"]
    files = [("files", (path.name, path.read_bytes())) for path in names]
    person.api.post("scripts/", data={"name": "cbers", "entrypoint": "blur.py"}, files=files)


def _submission(catalogue: str, *, nodes: int, limit: int = 10_000, **more: Any) -> dict[str, Any]:
    return {
        "name": f"blur on {nodes}",
        "script": "cbers",
        "arguments": ["--wait", str(_WAIT)],
        "data": {
            "kind": "stac",
            "url": catalogue,
            "collections": ["CBERS4-MUX"],
            "assets": ["thumbnail"],
            "limit": limit,
        },
        "shards": {"by": "count", "number": _SHARDS},
        "nodes": nodes,
        "limits": {"seconds": 600, "output_mb": 50},
        "budget": "1.00",
        **more,
    }


def _preview(person: Newcomer, catalogue: str, count: int) -> None:
    found = person.api.post("jobs/preview/", _submission(catalogue, nodes=_NODES))
    if found["items"] != count:
        raise ScriptError(f"The preview found {found['items']} scenes, and not {count}.")
    west, south, east, north = found["bbox"]
    say(f"    | {count} scenes between {west:.1f}°, {south:.1f}° and {east:.1f}°, {north:.1f}°")
    if found["estimate"] is not None:
        say(f"    | likely ${found['estimate']}, at most ${found['estimate_most']}")


def _job(person: Newcomer, catalogue: str, *, nodes: int, **more: Any) -> Done:
    made = person.api.post("jobs/", _submission(catalogue, nodes=nodes, **more))
    found = person.api.wait(f"jobs/{made['id']}/", Bar().is_over, within=_JOB_WITHIN)
    if found["state"] != "succeeded":
        raise ScriptError(f"The job {found['state']}: {found['message']} ({found['reason']})", detail=str(found))
    shards = _shards(person, found)
    began = min(datetime.fromisoformat(shard["started_at"]) for shard in shards)
    ended = max(datetime.fromisoformat(shard["finished_at"]) for shard in shards)
    whole = datetime.fromisoformat(found["ended_at"]) - datetime.fromisoformat(found["created_at"])
    instances = len({shard["instance_id"] for shard in shards})
    done = Done(found, (ended - began).total_seconds(), instances, whole.total_seconds())
    say(f"    | {done.told()}")
    return done


def _shards(person: Newcomer, job: dict[str, Any]) -> list[dict[str, Any]]:
    page = person.api.get(f"jobs/{job['id']}/shards/", page_size="200")
    found = list(page["results"])
    while page["next"]:
        page = person.api.get(page["next"])
        found += page["results"]
    return [shard for shard in found if not shard["superseded"]]


class Bar:
    """Says how far a job is whenever it has come further by a quarter, or into another phase."""

    def __init__(self) -> None:
        self._said: tuple[str, int] | None = None

    def is_over(self, job: dict[str, Any]) -> bool:
        """Whether the job has ended."""
        percent = job["progress"]["percent"] // 25 * 25
        if (now := (job["phase"], percent)) != self._said:
            self._said = now
            of = f", {job['progress']['done']} of {job['shards']} shards" if job["shards"] else ""
            say(f"    | {job['phase']}{of}")
        return bool(job["phase"] == "ended")


def _nodes_started(person: Newcomer, workspace: dict[str, Any], catalogue: str) -> None:
    """Have the nodes come, by a job that wants them: they stay a while, so that what is compared has them all.

    A second job of one shard for each slot has every one of them install what the example needs.
    """
    person.api.post("jobs/", _submission(catalogue, nodes=_NODES, limit=_NODES, shards={"number": _NODES}))
    path, began = f"workspaces/{workspace['id']}/", time.monotonic()

    def up(found: dict[str, Any]) -> list[dict[str, Any]]:
        return [instance for instance in found["instances"] if instance["state"] == "running"]

    found = person.api.wait(path, lambda found: len(up(found)) >= _NODES, within=_NODES_WITHIN)
    slots = sum(instance["slots"] for instance in up(found))
    say(f"    | {_NODES} instances with {slots} slots are up after {time.monotonic() - began:.1f} s")
    _job(person, catalogue, nodes=_NODES, limit=slots, shards={"number": slots})


def _compare(walk: Walk, one: Done, four: Done) -> str:
    if one.job["manifest_sha256"] != four.job["manifest_sha256"]:
        raise ScriptError("The two jobs did not work on the same scenes.")
    if four.instances != _NODES:
        raise ScriptError(f"The job over {_NODES} nodes ran on {four.instances}.")
    speed_up = one.seconds / four.seconds
    say(f"  {_NODES} nodes were {speed_up:.1f} times as fast as one.")
    say(f"  (Each scene waits {_WAIT:g} s on purpose, as for a slow archive: these nodes share one machine's cores.)")
    if speed_up < 2:
        raise ScriptError(f"Four nodes were only {speed_up:.2f} times as fast as one.")
    return f"{speed_up:.2f}"


def _fetch(person: Newcomer, job: Done, path: Path, scenes: set[str]) -> int:
    """Downloads the archive; each scene has given one picture, of the scene's size. How many files it has."""
    link = person.api.get(f"jobs/{job.id}/archive/")["url"]
    path.write_bytes(httpx.get(link, timeout=60, trust_env=False).raise_for_status().content)
    index = httpx.get(person.api.get(f"jobs/{job.id}/outputs/")["url"], timeout=60, trust_env=False)
    told = index.raise_for_status().text
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith((".jpg", ".png"))]
        for name in names:
            with Image.open(io.BytesIO(archive.read(name))) as picture:
                picture.verify()
                if picture.size != (730, 695):
                    raise ScriptError(f"{name} has {picture.size} pixels.")
        count = len(archive.namelist())
    if missing := [scene for scene in scenes if not any(scene in name for name in names)]:
        raise ScriptError(f"{len(missing)} scenes gave no picture, {missing[0]} among them.")
    if missing := [scene for scene in scenes if scene not in told]:
        raise ScriptError(f"The index does not name {len(missing)} scenes, {missing[0]} among them.")
    say(f"    | {count} files, {len(names)} of them pictures of 730 × 695, {path.stat().st_size / 1e6:.1f} MB")
    return count


def _contained(person: Newcomer, catalogue: str) -> list[Done]:
    """The same in a container that the example's Dockerfile makes; nothing where instances have no Docker engine."""
    if not (path := engine_of_instances()):
        say("    | Instances have no Docker engine here: left out.")
        return []
    images_ensure(Engine(path))
    done = _job(person, catalogue, nodes=1, limit=8, shards={"number": 2}, container={"dockerfile": "Dockerfile"})
    images = {shard["image"] for shard in _shards(person, done.job)}
    if len(images) != 1 or "" in images:
        raise ScriptError(f"The shards ran in these images, and not in one: {images}")
    say(f"    | all of them in {images.pop()[:19]}")
    return [done]


def _statement(person: Newcomer, jobs: list[Done]) -> None:
    """What each job cost, and the month's statement, as a document, too."""
    for done in jobs:
        cost = person.api.get(f"runs/{done.job['run']}/cost/")
        if Decimal(cost["compute"]) <= 0:
            raise ScriptError(f"The job {done.job['name']} is said to have cost nothing.", detail=str(cost))
        say(f"    | {done.job['name']:<20} ${cost['total']} (start-up of instances: ${cost['start_up']})")
    month = person.api.get("usage/")["months"][0]["month"]
    found = person.api.get(f"usage/{month}/")
    for line in found["kinds"]:
        say(f"    | {line['name']:<24} {line['quantity']:>12} {line['unit']:<10} ${line['cost']}")
    for line in found["deductions"]:
        say(f"    | less {line['name']:<19} {'':>23} ${line['amount']}")
    say(f"    | {month}: ${found['used']} used, ${found['total']} to pay; the start-up and idle time of instances and")
    say("    | disks are added every five minutes")
    document = person.api.http.get(f"usage/{month}/pdf/").raise_for_status().content
    if not document.startswith(b"%PDF"):
        raise ScriptError("The statement's document is no PDF.")
    (person.walk.folder / "statement.pdf").write_bytes(document)
