"""What people do with jobs: submit them, stop them, try again what failed, and delete what came out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from portal.accounts.models import User
from portal.core.audit import audit
from portal.core.background import enqueue_on_commit
from portal.core.errors import Conflict, LimitReached
from portal.core.live import publish_on_commit
from portal.core.states import moved
from portal.jobs import money
from portal.jobs.models import Job, Phase
from portal.jobs.phases import WORK, announce, phase_enter
from portal.jobs.submission import budget_of, submission_check
from portal.pipelines.events import run_ended
from portal.pipelines.models import OPEN, Run, ScriptVersion, State
from portal.pipelines.models import TRANSITIONS as RUN_TRANSITIONS
from portal.pipelines.services import run_cancel, workspace_require
from portal.workspaces.selectors import containers_require

_AGAIN = frozenset({State.FAILED, State.TIMED_OUT, State.LOST, State.CANCELLED, State.SKIPPED})
OUTPUTS_DELETE = "portal.jobs.tasks.outputs_delete"


def job_submit(*, owner: User, submission: Mapping[str, Any], via: str = Run.Via.PAGE) -> Job:
    """Accept a job: it is searched, split and run in the background, and ends whatever dies.

    Raises ``Invalid`` that names every wrong field, ``Conflict``, ``LimitReached``.
    """
    found = submission_check(owner=owner, submission=submission)
    definition, version = found.definition, found.version
    with transaction.atomic():
        User.objects.select_for_update().get(pk=owner.pk)
        if Job.objects.filter(owner=owner).exclude(phase=Phase.ENDED).count() >= settings.MAX_OPEN_JOBS:
            raise LimitReached(
                f"You may have {settings.MAX_OPEN_JOBS} jobs at a time.",
                code="too_many_jobs",
                hint="Wait for one to end, or stop one.",
            )
        job = Job.objects.create(
            owner=owner,
            workspace=found.workspace,
            name=definition["name"],
            run=_run_made(owner, found.workspace.pk, version, name=definition["name"], via=via),
            script=version.script,
            version=version,
            input_job=found.input_job,
            definition=definition,
            nodes=definition["nodes"],
            budget=budget_of(definition),
            keep_days=definition["keep_days"],
            message="Waits to be searched for.",
        )
        money.accepted(job)
        audit("job.submit", job, by=owner, workspace=found.workspace.pk, version=version.pk, via=str(via))
        publish_on_commit(f"workspace:{job.workspace_id}")
        announce(job)
        enqueue_on_commit(WORK, job.pk)
    return job


def _run_made(owner: User, workspace_id: str, version: ScriptVersion, **given: Any) -> Run:
    """A run that waits for its steps; ``held``, so that nothing ends it before it has them all."""
    return Run.objects.create(
        owner=owner,
        workspace_id=workspace_id,
        script_id=version.script_id,
        requested_by=owner,
        on_failure=Run.OnFailure.CONTINUE,
        held=True,
        at_once=0,
        **given,
    )


def job_cancel(*, job: Job, by: User | None = None) -> None:
    """Stop a job: what has not begun never does, what runs is told to end. What came out so far is gathered.

    Raises ``Conflict`` for one that has ended.
    """
    with transaction.atomic():
        run_cancel(run=job.run, by=by)
        audit("job.cancel", job, by=by)
        run_end_without_steps(job.run, State.CANCELLED)
    job.refresh_from_db()


def run_end_without_steps(run: Run, state: str) -> bool:
    """End a run that never got its steps; whether it was one. In a transaction."""
    if run.steps.exists() or not moved(run, RUN_TRANSITIONS, state, finished_at=timezone.now()):
        return False
    publish_on_commit(f"run:{run.pk}", f"owner:{run.owner_id}", f"workspace:{run.workspace_id}")
    run_ended.send(sender=Run, run=run)
    return True


def job_retry(*, job: Job, by: User, via: str = Run.Via.PAGE) -> Job:
    """Try the shards again that did not end well, on the same data; what had ended well counts as done.

    A job that has no shards yet searches again; one whose outputs could not be gathered gathers them. Raises
    ``Conflict``.
    """
    if not job.is_over:
        raise Conflict("This job has not ended yet.", code="still_running", hint="Stop it first, or wait.")
    if job.outputs_deleted_at:
        raise Conflict("The outputs of this job were deleted; submit it anew.", code="outputs_deleted")
    steps = job.run.steps.filter(superseded=False)
    if steps.exists() and not steps.filter(state__in=_AGAIN).exists():
        return _gathered_again(job, by)
    workspace_require(job.workspace)
    if job.definition["container"]:
        containers_require(job.workspace)
    with transaction.atomic():
        target = Phase.SPLITTING if job.shards else Phase.SEARCHING
        run = _run_made(by, job.workspace_id, job.version, name=job.name, via=via, again_of=job.run)
        fields: dict[str, Any] = {"run": run, "reason": "", "message": "Tried again.", "ended_at": None}
        if not phase_enter(job, target, **fields, expires_at=None, expiry_told_at=None, nodes_ready_at=None):
            raise Conflict("Somebody else tries this job again already.", code="still_running")
        money.accepted(job)
        audit("job.retry", job, by=by, run=run.pk)
        enqueue_on_commit(WORK, job.pk)
    return job


def _gathered_again(job: Job, by: User) -> Job:
    """All shards have ended well: what they left is gathered, where that has failed. Raises ``Conflict``."""
    if not job.reason:
        raise Conflict("All shards have ended well.", code="nothing_failed", hint="Submit the job anew.")
    with transaction.atomic():
        fields: dict[str, Any] = {"reason": "", "message": "The outputs are being gathered.", "ended_at": None}
        if not phase_enter(job, Phase.GATHERING, among=[Phase.ENDED], **fields, expires_at=None, expiry_told_at=None):
            raise Conflict("Somebody else tries this job again already.", code="still_running")
        audit("job.retry", job, by=by, run=job.run_id)
        enqueue_on_commit(WORK, job.pk)
    return job


def outputs_delete(*, job: Job, by: User | None = None) -> None:
    """Delete what came out of a job, and what its shards left. Raises ``Conflict`` while it runs."""
    if not job.is_over or job.run.state in OPEN:
        raise Conflict("This job has not ended yet.", code="still_running", hint="Stop it first, or wait.")
    with transaction.atomic():
        if not Job.objects.filter(pk=job.pk, phase=Phase.ENDED, outputs_deleted_at=None).update(
            outputs_deleted_at=timezone.now()
        ):
            return
        audit("job.outputs_delete", job, by=by)
        announce(job)
        enqueue_on_commit(OUTPUTS_DELETE, job.pk)
    job.refresh_from_db()
