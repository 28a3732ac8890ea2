"""What pages show of jobs, and the watch of an open one. No page loads all shards: they are counted, and paged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, F, Q, QuerySet
from django.http import HttpRequest, QueryDict
from django.middleware.csrf import get_token
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from portal.accounts.models import User
from portal.core.errors import NotFound
from portal.jobs import money
from portal.jobs.models import Job, Phase
from portal.jobs.selectors import Progress, job_get, progress, shards_of
from portal.pipelines.models import FINAL, Run, State, Step
from portal.pipelines.selectors import OutputShown, outputs_of
from portal.pipelines.services import LIMITS
from portal.web.job_pictures import Cell, bar_svg, grid_svg, parts_of
from portal.web.job_words import as_yaml, instant
from portal.web.live import Fragments

PAGE = 25
_CELLS, _IMAGES, _FILES, _NODES = 500, 12, 24, 24
# Steps looked into for what they left.
_LOOKED_INTO = 24
# How often a job may have been tried again for its first run to be still known as its own.
_AGAIN = 50
# Begun more than once: one that only waited on another instance before was not.
_TRIED_AGAIN = Q(origin=None, executions__gt=1)
_SPEED_OF = timedelta(minutes=2)
# Seconds between two looks at a job whose shards end in quick succession.
SLOW = 0.6
GROUPS = {
    "running": ("Running", frozenset({State.RUNNING})),
    "failed": ("Failed", frozenset({State.FAILED, State.TIMED_OUT, State.LOST})),
    "todo": ("To do", frozenset({State.WAITING, State.QUEUED})),
    "done": ("Succeeded", frozenset({State.SUCCEEDED})),
    "cancelled": ("Cancelled", frozenset({State.CANCELLED, State.SKIPPED})),
    "retried": ("Tried again", frozenset[str]()),
}
_MOVING = ("head", "progress", "grid", "shards", "outputs")
_WORDS = {
    Phase.SEARCHING: "Looking for the data.",
    Phase.SPLITTING: "Splitting the items into shards.",
    Phase.STARTING: "Starting nodes; shards begin as soon as the first is there.",
    Phase.RUNNING: "Shards are being worked on.",
    Phase.GATHERING: "Gathering what the shards have made: index and archive.",
}
_ENDED = {
    "succeeded": "All shards ended well.",
    "failed": "Some shards failed. What the others made is there.",
    "timed_out": "Some shards ran longer than their limit. What the others made is there.",
    "lost": "Some shards were lost with their nodes. What the others made is there.",
    "cancelled": "It was cancelled. What was done by then is there.",
}


@dataclass(frozen=True)
class Speed:
    """Shards a minute lately, and how many seconds are left at that; nothing where that cannot be said yet."""

    a_minute: float | None = None
    left: float | None = None


@dataclass(frozen=True)
class Node:
    """An instance at work for a job."""

    name: str
    running: int
    done: int


@dataclass(frozen=True)
class ShardsPage:
    """Some shards in their order; the numbers from which the windows beside it begin, where there are any."""

    shards: list[Step]
    group: str
    first: int
    newer: int | None
    older: int | None


@dataclass(frozen=True)
class Made:
    """Some of what the shards have left: each output with its step."""

    images: list[tuple[Step, OutputShown]]
    files: list[tuple[Step, OutputShown]]


def job_shown(owner: User, job_id: str, asked: QueryDict | Mapping[str, str]) -> dict[str, Any]:
    """All that the page of a job shows. Raises ``NotFound``."""
    job = job_get(owner=owner, job_id=job_id)
    found = progress(job)
    again = retried(job).count() if found.states else 0
    nodes = nodes_of(job) if found.states else []
    return {
        "job": job,
        "run": job.run,
        "progress": found,
        "parts": parts_of(found.states),
        "bar": bar_svg(parts_of(found.states), found.shards or found.done),
        "words": words_of(job),
        "speed": speed_of(job, found),
        "cost": money.cost(job),
        "nodes": nodes,
        "busy": sum(node.running > 0 for node in nodes),
        "each": cell_size(job),
        "again": again,
        "twins": job.twins,
        "grid": grid_svg(cells_of(job), reverse("job", args=[job.pk])) if found.states else "",
        "groups": groups_of(found, again),
        "page": shards_page(job, asked.get("shards", ""), asked.get("from", ""), asked.get("until", "")),
        "made": made_by(job),
        "ill": found.failed,
        "cancelling": job.run.cancel_requested_at is not None and not job.is_over,
        "retryable": job.is_over
        and job.outputs_deleted_at is None
        and bool(job.state != State.SUCCEEDED or job.reason),
        "kept": bool(job.index_key) and job.outputs_deleted_at is None,
    }


def job_behind(run: Run) -> Job | None:
    """The job that a run belongs to: its current run, or one that was tried again since."""
    for _ in range(_AGAIN):
        job = Job.objects.filter(run=run.pk).first()
        later = None if job else Run.objects.filter(again_of=run.pk, at_once__isnull=False).first()
        if later is None:
            return job
        run = later
    return None


def words_of(job: Job) -> str:
    """How it goes, in a sentence."""
    if job.phase == Phase.ENDED:
        return job.message or _ENDED.get(job.state, "")
    if job.run.cancel_requested_at is not None:
        return "Being cancelled: no further shard begins, and those that run were told to end."
    return job.message or _WORDS.get(Phase(job.phase), "")


def speed_of(job: Job, found: Progress) -> Speed:
    """From the shards that have ended lately."""
    if found.started_at is None or not found.done:
        return Speed()
    now = (job.run.finished_at or timezone.now()) if job.run.is_final else timezone.now()
    gone = max((now - found.started_at).total_seconds(), 0.5)
    rate = found.done / gone
    if not job.run.is_final and gone > _SPEED_OF.total_seconds():
        lately = Step.objects.filter(run=job.run_id, state__in=FINAL, finished_at__gte=now - _SPEED_OF).count()
        rate = lately / _SPEED_OF.total_seconds() or rate
    left = None if job.run.is_final else max(found.shards - found.done, 0) / rate
    return Speed(rate * 60, left)


def nodes_of(job: Job) -> list[Node]:
    """The instances that have worked on it, the busy ones first."""
    rows = (
        Step.objects.filter(run=job.run_id, origin=None)
        .exclude(instance_id="")
        .order_by()
        .values("instance_id")
        .annotate(running=Count("pk", filter=Q(state=State.RUNNING)), done=Count("pk", filter=Q(state=State.SUCCEEDED)))
    )
    nodes = [Node(row["instance_id"], row["running"], row["done"]) for row in rows]
    return sorted(nodes, key=lambda node: (-node.running, -node.done, node.name))[:_NODES]


def retried(job: Job) -> QuerySet[Step]:
    """The shards that were tried more than once."""
    return Step.objects.filter(_TRIED_AGAIN, run=job.run_id)


def groups_of(found: Progress, again: int) -> list[tuple[str, str, int]]:
    """What the list can be narrowed to: name, label, count."""
    counted = {name: sum(found.states.get(state, 0) for state in states) for name, (_, states) in GROUPS.items()}
    counted["retried"] = again
    return [(name, label, counted[name]) for name, (label, _) in GROUPS.items() if counted[name]]


def cell_size(job: Job) -> int:
    """How many shards a square of the grid stands for."""
    return max(1, -(-job.shards // _CELLS))


def cells_of(job: Job) -> list[Cell]:
    """The shards in at most so many cells of neighbours; counted by the database, so that none is loaded."""
    each = cell_size(job)
    rows = (
        Step.objects.filter(run=job.run_id, superseded=False)
        .order_by()
        .annotate(begin=F("position") - (F("position") - 1) % each)
        .values("begin", "state")
        .annotate(count=Count("pk"))
    )
    found: dict[int, dict[str, int]] = {}
    for row in rows:
        found.setdefault(int(row["begin"]), {})[row["state"]] = row["count"]
    return [Cell(begin, begin + each - 1, found[begin]) for begin in sorted(found)]


def shards_page(job: Job, group: str, first: str, until: str) -> ShardsPage:
    """A page of the shards from number ``first`` on, or those before ``until``; only those of a ``group``."""
    shards = shards_of(job).order_by("position", "created_at")
    if group == "retried":
        shards = shards.filter(_TRIED_AGAIN)
    elif group in GROUPS:
        shards = shards.filter(state__in=GROUPS[group][1], superseded=False)
    else:
        group = ""
    begin, before = _number(first), _number(until)
    if before is not None:
        found = list(shards.filter(position__lt=before).order_by("-position", "-created_at")[:PAGE])[::-1]
        begin = found[0].position if found else None
    if before is None or not found:
        found = list((shards.filter(position__gte=begin) if begin is not None else shards)[: PAGE + 1])
    more = found[PAGE].position if len(found) > PAGE else _after(shards, found) if before is not None else None
    earlier = found[0].position if begin is not None and found and _any(shards, found[0].position) else None
    return ShardsPage(found[:PAGE], group, begin or 0, earlier, more)


def shard_pair(shard: Step) -> list[Step]:
    """A shard that was begun twice, and its twin, in the order in which they were; nothing where there is no other."""
    same = Step.objects.filter(run=shard.run_id, position=shard.position).order_by("created_at", "id")
    pair = list(same.only("state", "instance_id"))
    return pair if len(pair) > 1 else []


def _after(shards: QuerySet[Step], found: Sequence[Step]) -> int | None:
    return shards.filter(position__gt=found[-1].position).values_list("position", flat=True).first() if found else None


def _any(shards: QuerySet[Step], before: int) -> bool:
    return shards.filter(position__lt=before).exists()


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None


def made_by(job: Job) -> Made:
    """Outputs of the first shards that have left any."""
    images: list[tuple[Step, OutputShown]] = []
    files: list[tuple[Step, OutputShown]] = []
    if job.outputs_deleted_at is None:
        done = Step.objects.filter(run=job.run_id, superseded=False, state=State.SUCCEEDED)
        for step in done.only("run", "position", "outputs", "origin").order_by("position")[:_LOOKED_INTO]:
            for output in outputs_of(step)[:_FILES]:
                (images if output.kind == "image" and output.size < 8_000_000 else files).append((step, output))
    return Made(images[:_IMAGES], files[: _FILES if not images else 6])


def submission_of(job: Job) -> dict[str, Any]:
    """What one would submit to get the same job: names instead of ids, and only what is not a default."""
    named = {
        "name": job.name,
        "workspace": job.workspace.name,
        "script": job.script.name,
        "version": job.version.number,
    }
    usual = {"keep_days": 30, "retries": {"count": 1, "backoff_seconds": 5.0, "exit_codes": []}}
    definition: dict[str, Any] = dict(job.definition)
    data = definition.get("data") or {}
    if data.get("time"):
        definition["data"] = {**data, "time": [instant(text) for text in data["time"]]}
    asked = definition.get("shards") or {}
    definition["shards"] = {key: each for key, each in asked.items() if each not in (None, "count")}
    limits = definition.get("limits") or {}
    definition["limits"] = {key: each for key, each in limits.items() if LIMITS.get(key, (None,))[0] != each}
    said = {key: each for key, each in definition.items() if each not in (None, "", [], {}) and usual.get(key) != each}
    return {**named, **{key: each for key, each in said.items() if key not in named}}


def yaml_of(job: Job) -> str:
    """The same as a file."""
    return as_yaml(submission_of(job))


class JobWatch(Fragments):
    """A job that is being watched: a burst of shards that end costs two looks a second at most, not one a shard."""

    def __init__(self, job: Job, *, owner: User, request: HttpRequest) -> None:
        topics = (f"job:{job.pk}", f"run:{job.run_id}", f"owner:{owner.pk}")
        super().__init__(*topics, draw=self._drawn)
        self.pause = SLOW
        self._owner, self._id, self._request, self._token = owner, job.pk, request, get_token(request)

    def _drawn(self) -> dict[str, str]:
        try:
            shown = job_shown(self._owner, self._id, self._request.GET) | {"csrf_value": self._token}
        except NotFound:
            self.over = True
            return {}
        self.over = shown["job"].is_over
        return {f"job-{part}": render_to_string(f"web/jobs/{part}.html", shown, self._request) for part in _MOVING}
