"""What makes sure that every accepted run ends, whatever was killed: nothing here is needed while all goes well."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from agents.orca_agent import protocol
from portal.clouds.services import account_handle
from portal.core.errors import CloudFault
from portal.core.live import publish_on_commit
from portal.core.states import moved
from portal.gateways import aws_queue
from portal.pipelines import dispatch, progress
from portal.pipelines.attempts import attempt_of, attempts_tell
from portal.pipelines.models import OPEN, TRANSITIONS, LogChunk, Outbox, Run, SeenEvent, State, Step
from portal.pipelines.progress import run_settle
from portal.pipelines.spending import spent_runs
from portal.workspaces.models import Instance, Workspace

logger = logging.getLogger(__name__)
MOST_ATTEMPTS = 3
EVENTS_KEPT = timedelta(days=15)
LOGS_KEPT = timedelta(days=30)
SENT_KEPT = timedelta(days=2)
FORGOTTEN = timedelta(seconds=300)


def runs_sweep() -> int:
    """Look after every open run; how many steps were moved."""
    touched = 0
    for workspace in Workspace.objects.filter(steps__state__in=OPEN).select_related("cloud_account").distinct():
        try:
            touched += _workspace_sweep(workspace)
        except CloudFault as error:
            logger.warning("runs of %s: %s", workspace.pk, error.message)
    for run_id in Run.objects.filter(state__in=OPEN).exclude(steps__state__in=OPEN).values_list("pk", flat=True)[:500]:
        run_settle(run_id=run_id)
        touched += 1
    for run_id in spent_runs():
        run_settle(run_id=run_id)
    return touched


def tasks_sweep() -> int:
    """Try again what is due, hand out what waits although there is room, send what was not sent; how many tasks.

    Whoever should have done that was killed just before, or met a cloud that did not answer.
    """
    progress.retries_sweep()
    backlog = Step.objects.filter(state=State.QUEUED, released_at=None, cancel_requested_at=None)
    takes = [Workspace.State.READY, Workspace.State.DEGRADED]
    waiting = Workspace.objects.filter(state__in=takes, pk__in=backlog.values("workspace"))
    released = sum(dispatch.steps_release(workspace=workspace) for workspace in waiting.select_related("cloud_account"))
    return released + dispatch.outbox_sweep()


def records_forget() -> int:
    """Drop what nobody can ask for any more; how many rows.

    An event cannot come again once its queue has let go of it, nor can a message be due that was sent; lines of a log
    are dropped where the whole log lies in the bucket.
    """
    now = timezone.now()
    old = (
        SeenEvent.objects.filter(created_at__lt=now - EVENTS_KEPT),
        LogChunk.objects.filter(step__finished_at__lt=now - LOGS_KEPT, step__log_key__gt=""),
        Outbox.objects.filter(sent_at__lt=now - SENT_KEPT),
    )
    return sum(rows.delete()[0] for rows in old)


def _workspace_sweep(workspace: Workspace) -> int:
    if workspace.state == Workspace.State.DESTROYED:
        return workspace_steps_end(workspace=workspace)
    touched = _cancelled_without_answer(workspace)
    if workspace.state in {Workspace.State.READY, Workspace.State.DEGRADED}:
        touched += _given_up(workspace) + _forgotten(workspace)
        touched += dispatch.steps_release(workspace=workspace)
    return touched


def step_end(step: Step, state: str, reason: str, message: str) -> bool:
    """End a step that no instance will end any more."""
    attempt = attempt_of(step)
    with transaction.atomic():
        if not moved(step, TRANSITIONS, state, finished_at=timezone.now(), reason=reason, message=message):
            return False
        attempts_tell([attempt])
        run_settle(run_id=step.run_id)
        publish_on_commit(f"run:{step.run_id}")
    return True


def workspace_steps_end(*, workspace: Workspace) -> int:
    """Cancel whatever is still open in a workspace that is gone."""
    ended = 0
    for step in Step.objects.filter(workspace=workspace, state__in=OPEN):
        why = workspace.state_reason or "The workspace was destroyed."
        ended += step_end(step, State.CANCELLED, "workspace_gone", why)
    return ended


def _cancelled_without_answer(workspace: Workspace) -> int:
    """Steps whose cancelling nobody confirms: at once where no instance runs, else after ``ORCA_LOST_AFTER``."""
    alive = workspace.instances.filter(state=Instance.State.RUNNING).exists()
    patience = timedelta(seconds=settings.LOST_AFTER if alive else settings.INSTANCE_SILENCE)
    due = Step.objects.filter(workspace=workspace, state__in=OPEN, cancel_requested_at__lt=timezone.now() - patience)
    return sum(step_end(step, State.CANCELLED, "cancelled", "Cancelled; no instance confirmed it.") for step in due)


def _given_up(workspace: Workspace) -> int:
    """Steps whose message SQS has put aside, because agents died of it again and again."""
    account, ended = account_handle(workspace.cloud_account), 0
    for message in aws_queue.receive_dead(account, workspace.dead_queue):
        try:
            tasks = protocol.parse_tasks(message.body, workspace.pk)
        except protocol.ProtocolError as error:
            logger.warning("a dead letter of %s cannot be read: %s", workspace.pk, error)
            tasks = ()
        for task in tasks:
            step = Step.objects.filter(workspace=workspace, pk=task.step, attempt=task.attempt, state__in=OPEN).first()
            if step is not None:
                ended += step_end(
                    step,
                    State.LOST,
                    "given_up",
                    "The instance or its agent died several times while this ran.",
                )
        aws_queue.delete_dead(account, workspace.dead_queue, message.receipt)
    return ended


def _forgotten(workspace: Workspace) -> int:
    """Released steps that no instance has spoken of for long.

    While an instance lives, its heartbeats name what it works on, and what waits in the queue is its next: a step that
    stays unmentioned although there are free slots was lost on the way, and is handed out anew (three times at most).
    Where no instance has lived for ``ORCA_LOST_AFTER`` seconds, nobody will do it.
    """
    now = timezone.now()
    quiet = Step.objects.filter(workspace=workspace, state__in=OPEN, released_at__isnull=False)
    up = workspace.instances.filter(state=Instance.State.RUNNING)
    if not up.exists():
        gone = quiet.filter(Q(seen_at__lt=now - timedelta(seconds=settings.LOST_AFTER)))
        message = "No instance of the workspace has reported for too long."
        return sum(step_end(step, State.LOST, "instance_lost", message) for step in gone)
    if not any(len(instance.running) < instance.slots for instance in up):
        return 0
    moved_count = 0
    for step in quiet.filter(seen_at__lt=now - FORGOTTEN):
        if step.attempt - step.tried >= MOST_ATTEMPTS:
            moved_count += step_end(step, State.LOST, "given_up", "It was handed out several times and never ended.")
        elif dispatch.step_return(step=step):
            run_settle(run_id=step.run_id)
            moved_count += 1
    return moved_count
