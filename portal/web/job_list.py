"""The list of a person's jobs: what fits the filter, a window of it, and how each goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, QuerySet
from django.http import QueryDict
from django.utils.safestring import SafeString

from portal.accounts.models import User
from portal.jobs.models import Job, Phase
from portal.jobs.selectors import jobs_of
from portal.pipelines.models import FINAL, OF_STEPS_ONLY, State, Step
from portal.web.job_pictures import bar_svg, parts_of
from portal.web.states import RUN


@dataclass(frozen=True)
class Row:
    """A job in the list, with its bar."""

    job: Job
    bar: SafeString
    done: int
    ill: int


@dataclass(frozen=True)
class JobsPage:
    """Some jobs, newest first, and from which the window of older ones begins."""

    rows: list[Row]
    older: str
    first: bool


def jobs_page(jobs: QuerySet[Job], before: str, size: int = 25) -> JobsPage:
    """The newest of ``jobs``, or those before the one with the id ``before``."""
    marked = len(before) == 26 and before.isalnum()
    asked = jobs.filter(pk__lt=before) if marked else jobs
    found = list(asked.order_by("-id")[: size + 1])
    return JobsPage(rows_of(found[:size]), found[size - 1].pk if len(found) > size else "", not marked)


def rows_of(jobs: Sequence[Job]) -> list[Row]:
    """Jobs with their bars; the states of all their shards are counted at once, and by an index alone."""
    counted: dict[str, dict[str, int]] = {}
    running = [job.run_id for job in jobs if job.state != State.SUCCEEDED and job.shards]
    rows = Step.objects.filter(run__in=running).order_by().values("run", "state").annotate(count=Count("pk"))
    for row in rows:
        counted.setdefault(row["run"], {})[row["state"]] = row["count"]
    found = []
    for job in jobs:
        states = counted.get(job.run_id, {State.SUCCEEDED: job.shards} if job.state == State.SUCCEEDED else {})
        parts = parts_of(states)
        done = sum(count for state, count in states.items() if state in FINAL)
        ill = sum(states.get(state, 0) for state in (State.FAILED, State.TIMED_OUT, State.LOST))
        found.append(Row(job, bar_svg(parts, job.shards), min(done, job.shards), ill))
    return found


STATES = [
    ("", "All"),
    ("open", "Going on"),
    *((state.value, RUN[state.value].label) for state in State if state in FINAL and state not in OF_STEPS_ONLY),
]


def jobs_asked(owner: User, asked: QueryDict) -> tuple[QuerySet[Job], bool]:
    """A person's jobs that fit the filter, and whether there was one."""
    jobs, filtered = jobs_of(owner), False
    for name, lookup in (("q", "name__icontains"), ("script", "script"), ("workspace", "workspace")):
        if value := asked.get(name, "").replace("\0", "")[:200]:
            jobs, filtered = jobs.filter(**{lookup: value}), True
    state = asked.get("state", "")
    if state == "open":
        jobs, filtered = jobs.exclude(phase=Phase.ENDED), True
    elif state in State.values:
        jobs, filtered = jobs.filter(phase=Phase.ENDED, run__state=state), True
    return jobs, filtered
