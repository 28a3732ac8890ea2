"""How a job's phase changes, and who may work on it: a worker claims it for a while; if it dies, another takes over."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db.models import F, Q
from django.utils import timezone

from portal.core.ids import new_id
from portal.core.live import publish_on_commit
from portal.core.states import sources
from portal.jobs.models import TRANSITIONS, Job, Phase

LEASE = timedelta(seconds=60)
MOST_CLAIMS = 6
WORK = "portal.jobs.tasks.job_work"
# Phases in which a worker has something to do.
WORKED_ON = (Phase.SEARCHING, Phase.SPLITTING, Phase.GATHERING)


class Lost(Exception):
    """The claim went to somebody else, or nobody wants the job any more: leave quietly."""


def phase_enter(job: Job, target: str, *, among: Iterable[str] = (), **fields: Any) -> bool:
    """Bring a job to a phase where the table allows it; on success the object in hand shows it. Claims end with it."""
    allowed = sources(TRANSITIONS, target)
    if among:
        allowed &= frozenset(among)
    fields |= {"phase": target, "claim": "", "claimed_until": None, "claims": 0}
    if not Job.objects.filter(pk=job.pk, phase__in=allowed).update(**fields):
        return False
    for name, value in fields.items():
        setattr(job, name, value)
    announce(job)
    return True


def announce(job: Job) -> None:
    """Tell open pages that something about a job has changed."""
    publish_on_commit(f"job:{job.pk}", f"run:{job.run_id}", f"owner:{job.owner_id}")


def claimed(job_id: str) -> Job | None:
    """The job, claimed for us; None where nobody has to work on it, or somebody else does."""
    now, token = timezone.now(), new_id()
    free = Q(claimed_until=None) | Q(claimed_until__lt=now)
    taken = Job.objects.filter(free, pk=job_id, phase__in=WORKED_ON).update(
        claim=token, claimed_until=now + LEASE, claims=F("claims") + 1
    )
    if not taken:
        return None
    return Job.objects.select_related("run", "workspace__cloud_account", "owner", "version").get(pk=job_id)


def still_ours(job: Job) -> None:
    """Renew our claim. Raises ``Lost``. In a transaction it also keeps rivals out until that is through."""
    mine = Job.objects.filter(pk=job.pk, phase=job.phase, claim=job.claim)
    if not job.claim or not mine.update(claimed_until=timezone.now() + LEASE):
        raise Lost


def let_go(job: Job, *, pause: timedelta | None = None) -> None:
    """Give the claim back, so that somebody else may take the job up at once, or after a ``pause``."""
    until = timezone.now() + pause if pause else None
    Job.objects.filter(pk=job.pk, phase=job.phase, claim=job.claim).update(claim="", claimed_until=until)
