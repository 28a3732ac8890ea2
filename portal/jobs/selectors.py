"""Questions about jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Count, Max, Min, QuerySet

from portal.accounts.models import User
from portal.clouds.services import account_handle
from portal.core.errors import NotFound
from portal.gateways import aws_storage
from portal.jobs.models import Job
from portal.pipelines.models import FINAL, State, Step

LINK_SECONDS = 3_600


def jobs_of(owner: User) -> QuerySet[Job]:
    """A person's jobs, newest first, with the runs that tell their state."""
    return Job.objects.filter(owner=owner).select_related("run", "workspace", "script", "version")


def job_get(*, owner: User, job_id: str) -> Job:
    """One of a person's jobs. Raises ``NotFound``."""
    found = jobs_of(owner).filter(pk=job_id).select_related("workspace__cloud_account", "version__script").first()
    if found is None:
        raise NotFound("There is no such job.")
    return found


def job_of_run(run_id: str) -> Job | None:
    """The job whose current run this is."""
    return Job.objects.filter(run=run_id).first()


def shards_of(job: Job) -> QuerySet[Step]:
    """The shards of a job's current run in their order, twins last; heavy fields are left where they are."""
    heavy = ("arguments", "environment", "limits", "secrets", "needs", "inputs")
    return Step.objects.filter(run=job.run_id).defer(*heavy).order_by("created_at", "id")


@dataclass(frozen=True)
class Progress:
    """How the shards of a job fare: how many are in which state; twins and what they replaced are not counted twice."""

    shards: int
    states: Mapping[str, int] = field(default_factory=dict)
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def done(self) -> int:
        """How many have ended, well or ill."""
        return sum(count for state, count in self.states.items() if state in FINAL)

    @property
    def succeeded(self) -> int:
        return self.states.get(State.SUCCEEDED, 0)

    @property
    def failed(self) -> int:
        """How many have ended ill."""
        return self.done - self.succeeded

    @property
    def percent(self) -> int:
        """How much is done, rounded down; 0 before there are shards."""
        return 100 * self.done // self.shards if self.shards else 0


def progress(job: Job) -> Progress:
    """How a job's shards fare, by one query."""
    rows = (
        Step.objects.filter(run=job.run_id, superseded=False)
        .order_by()
        .values("state")
        .annotate(count=Count("pk"), first=Min("started_at"), last=Max("finished_at"))
    )
    found = list(rows)
    return Progress(
        shards=job.shards,
        states={row["state"]: row["count"] for row in found},
        started_at=min((row["first"] for row in found if row["first"]), default=None),
        finished_at=max((row["last"] for row in found if row["last"]), default=None),
    )


def manifest_link(job: Job) -> str:
    """A link to the list of items. Raises ``NotFound``, ``CloudFault``."""
    return _link(job, job.manifest_key, "items.jsonl", "The items are there when they have been found.")


def index_link(job: Job) -> str:
    """A link to the index of the outputs. Raises ``NotFound``, ``CloudFault``."""
    return _link(job, _kept(job, job.index_key), "index.json", _NOT_YET)


def archive_link(job: Job) -> str:
    """A link to all outputs as one zip archive. Raises ``NotFound``, ``CloudFault``."""
    return _link(job, _kept(job, job.archive_key), "outputs.zip", _NOT_YET)


_NOT_YET = "The outputs are there when the job has ended and they have been gathered."


def _kept(job: Job, key: str) -> str:
    if job.outputs_deleted_at:
        raise NotFound("The outputs of this job were deleted.", code="outputs_deleted")
    return key


def _link(job: Job, key: str, filename: str, missing: str) -> str:
    if not key:
        raise NotFound(missing)
    account = account_handle(job.workspace.cloud_account)
    name = f"{job.name}-{filename}"
    return aws_storage.link(account, job.workspace.bucket, key, filename=name, seconds=LINK_SECONDS)
