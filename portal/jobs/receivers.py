"""What jobs do when something happens to their runs, in the transaction of the change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils import timezone

from portal.core.background import enqueue_on_commit
from portal.jobs import handing, images, stragglers
from portal.jobs.models import WORKING, Job, Phase
from portal.jobs.nodes import wanted_on_commit
from portal.jobs.phases import WORK, phase_enter
from portal.pipelines.dispatch import contribute_data
from portal.pipelines.events import run_ended, runs_settling
from portal.pipelines.models import Run


def _settling(sender: object, *, run_ids: Sequence[str], **_: Any) -> None:
    jobs = list(Job.objects.filter(run__in=run_ids, phase__in=WORKING).only("run_id", "image", "twins", "definition"))
    stragglers.twins_settle(jobs)
    images.images_note(jobs)


def _ended(sender: object, *, run: Run, **_: Any) -> None:
    if run.at_once is None:  # of no job: that costs no query where steps end by the thousand
        return
    job = Job.objects.select_related("run", "workspace").filter(run=run.pk).first()
    if job is None:
        return
    if phase_enter(job, Phase.GATHERING, among=WORKING, message="The outputs are being gathered."):
        enqueue_on_commit(WORK, job.pk)
    elif phase_enter(job, Phase.ENDED, among=[Phase.SEARCHING, Phase.SPLITTING], ended_at=timezone.now(), message=""):
        wanted_on_commit(job.workspace_id)


def connect() -> None:
    """Subscribe; called once, when Django has loaded."""
    runs_settling.connect(_settling, dispatch_uid="jobs.settling")
    run_ended.connect(_ended, dispatch_uid="jobs.ended")
    contribute_data(handing.data_of)
