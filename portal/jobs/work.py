"""What workers do for jobs, each phase in turn; should one be killed, another takes the job up where it was."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from portal.core.background import enqueue
from portal.core.errors import CloudFault, OrcaError
from portal.jobs import gathering, searching, shards
from portal.jobs.models import Job, Phase
from portal.jobs.phases import MOST_CLAIMS, WORK, WORKED_ON, Lost, claimed, let_go, phase_enter
from portal.jobs.services import run_end_without_steps
from portal.pipelines.models import OPEN, State, Step
from portal.pipelines.progress import run_settle

logger = logging.getLogger(__name__)
# Before a job that met a fault of the cloud is taken up again; each time it is twice as long, five minutes in all.
_PAUSE = timedelta(seconds=10)
_STEPS: dict[str, str] = {
    Phase.SEARCHING: "looking for the data",
    Phase.SPLITTING: "splitting",
    Phase.GATHERING: "gathering the outputs",
}


def job_work(*, job_id: str) -> str:
    """Do what is to be done for a job until it waits for its shards, or has ended; its phase then.

    Leaves quietly where somebody else works on it.
    """
    while (job := claimed(job_id)) is not None:
        try:
            _worked(job)
        except Lost:
            let_go(job)
            return "lost"
        except CloudFault as error:
            if error.retryable and job.claims < MOST_CLAIMS:
                logger.warning("job %s, %s, will be tried again: %s", job.pk, _STEPS[job.phase], error.message)
                let_go(job, pause=_PAUSE * 2 ** (job.claims - 1))
                return job.phase
            job_fail(job, error)
        except OrcaError as error:
            job_fail(job, error)
        except Exception:
            logger.exception("job %s, %s", job.pk, _STEPS[job.phase])
            if job.claims < MOST_CLAIMS:
                let_go(job)
                return job.phase
            job_fail(job, _interrupted(job))
    return Job.objects.values_list("phase", flat=True).get(pk=job_id)


def _worked(job: Job) -> None:
    if job.claims > MOST_CLAIMS:
        job_fail(job, _interrupted(job))
    elif job.phase != Phase.GATHERING and not searching.is_wanted(job):
        _given_up(job)
    elif job.phase == Phase.SEARCHING:
        searching.job_search(job)
    elif job.phase == Phase.SPLITTING:
        shards.job_split(job)
    else:
        gathering.job_gather(job)


def _given_up(job: Job) -> None:
    """Somebody has stopped the run while its steps were still to be made."""
    with transaction.atomic():
        if not run_end_without_steps(job.run, State.CANCELLED):
            run_settle(run_id=job.run_id)
        phase_enter(job, Phase.ENDED, among=[Phase.SEARCHING, Phase.SPLITTING], ended_at=timezone.now(), message="")


def _interrupted(job: Job) -> OrcaError:
    return OrcaError(
        f"Something went wrong inside Orca while {_STEPS[job.phase]}.",
        code="internal",
        hint="An operator finds the details in the worker's log.",
    )


def job_fail(job: Job, error: OrcaError) -> None:
    """End a job that cannot go on. What its shards have done stays."""
    with transaction.atomic():
        said = " ".join(filter(None, (error.message, error.hint)))
        now = timezone.now()
        fields: dict[str, Any] = {"reason": error.code[:40], "message": said, "ended_at": now}
        if job.phase == Phase.GATHERING:  # what its shards have left is not kept for ever
            fields["expires_at"] = now + timedelta(days=job.keep_days)
        if not phase_enter(job, Phase.ENDED, among=[job.phase], **fields):
            return
        if job.run.state in OPEN:
            Step.objects.filter(run=job.run_id).delete()  # none has gone out: not all of them were there
            run_end_without_steps(job.run, State.FAILED)


def jobs_sweep() -> int:
    """Have the jobs taken up that nobody works on, because whoever did was killed, or met a fault; how many."""
    now = timezone.now()
    waiting = Job.objects.filter(phase__in=WORKED_ON).exclude(claimed_until__gt=now)
    ids = list(waiting.order_by("created_at").values_list("pk", flat=True)[:200])
    for job_id in ids:
        enqueue(WORK, job_id)
    return len(ids)
