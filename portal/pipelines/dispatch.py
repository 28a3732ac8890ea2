"""From the backlog in the database to the workspace's queue, as slots come free, through the outbox.

A queue is a hand-over, not a warehouse: only ``AHEAD`` times as many steps as there are slots are ever in it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q, Sum
from django.utils import timezone

from agents.orca_agent import protocol
from portal.clouds.services import account_handle
from portal.core.errors import CloudFault
from portal.core.live import publish_on_commit
from portal.gateways import aws_queue, aws_storage
from portal.pipelines.models import OPEN, Outbox, State, Step
from portal.workspaces.models import Instance, Workspace

logger = logging.getLogger(__name__)
AHEAD = 2
CLAIM = timedelta(seconds=30)
SWEPT = 200


def steps_release(*, workspace: Workspace) -> int:
    """Hand steps from the backlog to the outbox, the oldest first, as far as the slots reach; how many.

    The messages are sent when the transaction is through; what cannot be sent then, the sweep sends.
    """
    with transaction.atomic():
        room = _room(workspace)
        if room <= 0:
            return 0
        waiting = Step.objects.filter(
            workspace=workspace, state=State.QUEUED, released_at=None, cancel_requested_at=None
        ).order_by("created_at", "id")
        now, rows = timezone.now(), []
        for step_id in list(waiting.values_list("pk", flat=True)[:room]):
            free = Step.objects.filter(pk=step_id, state=State.QUEUED, released_at=None)
            if free.update(released_at=now, attempt=F("attempt") + 1, seen_at=now):
                attempt = Step.objects.values_list("attempt", flat=True).get(pk=step_id)
                rows.append(Outbox(workspace=workspace, step_id=step_id, attempt=attempt))
        Outbox.objects.bulk_create(rows)
        if rows:
            transaction.on_commit(lambda: _send_quietly([row.pk for row in rows]), robust=True)
        return len(rows)


def _room(workspace: Workspace) -> int:
    if workspace.state not in {Workspace.State.READY, Workspace.State.DEGRADED}:
        return 0
    up = workspace.instances.filter(state=Instance.State.RUNNING).aggregate(slots=Sum("slots"))["slots"] or 0
    out = Step.objects.filter(workspace=workspace, state__in=OPEN, released_at__isnull=False).count()
    return int(up) * AHEAD - out


def _send_quietly(outbox_ids: Sequence[str]) -> None:
    try:
        outbox_send(outbox_ids=outbox_ids)
    except CloudFault as error:
        logger.warning("%d tasks not sent yet, the sweep will: %s", len(outbox_ids), error.message)


def outbox_send(*, outbox_ids: Sequence[str]) -> int:
    """Send these messages; how many were accepted. Another sender's are left to it. Raises ``CloudFault``."""
    now = timezone.now()
    free = Q(claimed_until=None) | Q(claimed_until__lt=now)
    claimed = [
        pk
        for pk in outbox_ids
        if Outbox.objects.filter(free, pk=pk, sent_at=None).update(claimed_until=now + CLAIM, tries=F("tries") + 1)
    ]
    rows = Outbox.objects.filter(pk__in=claimed).select_related(
        "workspace__cloud_account", "step__version", "step__run"
    )
    by_workspace: dict[str, list[Outbox]] = {}
    for row in rows.order_by("created_at", "id"):
        by_workspace.setdefault(row.workspace_id, []).append(row)
    sent, fault = 0, None
    for group in by_workspace.values():
        for start in range(0, len(group), aws_queue.BATCH):
            some = group[start : start + aws_queue.BATCH]
            try:
                sent += _batch_send(some)
            except CloudFault as error:
                fault = error
                Outbox.objects.filter(pk__in=[row.pk for row in some]).update(
                    error=error.message[:300], claimed_until=None
                )
                break
    if fault is not None:
        raise fault
    return sent


def _batch_send(rows: list[Outbox]) -> int:
    workspace = rows[0].workspace
    account = account_handle(workspace.cloud_account)
    for row in rows:
        aws_storage.bundle_deliver(account, workspace.bucket, row.step.version.sha256)
    messages = [
        aws_queue.Outgoing(
            reference=row.pk,
            body=protocol.tasks_body([task_of(row.step, row.attempt)]),
            group=row.step.run_id,
            deduplication=f"{row.step_id}-{row.attempt}",
        )
        for row in rows
    ]
    accepted = aws_queue.send(account, workspace.tasks_queue, messages)
    Outbox.objects.filter(pk__in=accepted).update(sent_at=timezone.now(), error="", claimed_until=None)
    refused = [row.pk for row in rows if row.pk not in accepted]
    Outbox.objects.filter(pk__in=refused).update(error="refused by the queue", claimed_until=None)
    return len(accepted)


def task_of(step: Step, attempt: int) -> protocol.Task:
    """The message that tells an agent to do a step."""
    version = step.version
    return protocol.Task(
        workspace=step.workspace_id,
        run=step.run_id,
        step=step.pk,
        attempt=attempt,
        name=step.name,
        script=protocol.Script(
            key=f"scripts/{version.sha256}.zip",
            sha256=version.sha256,
            entrypoint=version.entrypoint,
            runtime=version.runtime,
            requirements=version.requirements or None,
        ),
        arguments=tuple(step.arguments),
        environment=step.environment,
        limits=protocol.Limits(**step.limits),
    )


def outbox_sweep() -> int:
    """Send what could not be sent when it was written; how many. A workspace that is gone gets nothing any more."""
    late = timezone.now() - timedelta(seconds=5)
    due = Outbox.objects.filter(
        Q(claimed_until=None) | Q(claimed_until__lt=timezone.now()), sent_at=None, created_at__lt=late
    )
    due.exclude(step__state__in=OPEN).delete()
    ids = (
        due.filter(workspace__state__in=[*Workspace.ALIVE]).order_by("created_at").values_list("pk", flat=True)[:SWEPT]
    )
    try:
        return outbox_send(outbox_ids=list(ids))
    except CloudFault as error:
        logger.warning("outbox: %s", error.message)
        return 0


def step_return(*, step: Step) -> bool:
    """Put a released step back into the backlog, to be handed out anew."""
    again = Step.objects.filter(pk=step.pk, state__in=OPEN, attempt=step.attempt)
    if again.update(state=State.QUEUED, released_at=None, started_at=None, instance_id="", seen_at=None):
        publish_on_commit(f"run:{step.run_id}")
        return True
    return False
