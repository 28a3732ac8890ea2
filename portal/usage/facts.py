"""What EC2 says of instances, written down as spans: what will be billed, from when to when.

One look at each account every half minute. EC2 tells when an instance was launched, and mostly when it was stopped;
where it does not, the end is the moment at which it was seen to be over, or, after Orca was away, the last sign of life
before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from portal.clouds.models import CloudAccount
from portal.clouds.services import account_handle
from portal.core.errors import CloudFault
from portal.gateways import aws_compute
from portal.gateways.aws_compute import Machine
from portal.pipelines.models import Run
from portal.usage.models import Span
from portal.usage.settling import changes_settle, steps_of
from portal.workspaces.models import Instance, Workspace

logger = logging.getLogger(__name__)
_RUNS = frozenset({"pending", "running"})
_GONE = frozenset({"shutting-down", "terminated"})
AWAY = timedelta(minutes=5)


def facts_observe() -> int:
    """Look at every account with something in it; how many could be looked at. What has changed is settled at once."""
    seen = 0
    used = Q(workspaces__in=Workspace.objects.exclude(state=Workspace.State.DESTROYED))
    used |= Q(workspaces__in=Span.objects.filter(ended_at=None).values("workspace"))
    for account in CloudAccount.objects.filter(used).exclude(state=CloudAccount.State.UNLINKED).distinct():
        now = timezone.now()
        try:
            machines = aws_compute.machines_everywhere(account_handle(account))
        except CloudFault as error:
            logger.warning("instances of account %s: %s", account, error.message)
            continue
        account_observed(account=account, machines=machines, at=now)
        seen += 1
    changes_settle()
    return seen


@transaction.atomic
def account_observed(*, account: CloudAccount, machines: Iterable[Machine], at: datetime) -> None:
    """Take in what EC2 said at that time of all instances in an account."""
    workspaces = {workspace.pk: workspace for workspace in account.workspaces.select_related("cloud_account")}
    rows = Span.objects.select_for_update().filter(workspace__in=workspaces, ended_at=None)
    spans = {(span.workspace_id, span.instance_id, span.kind): span for span in rows.order_by("began_at", "id")}
    seen = []
    for machine in machines:
        workspace = workspaces.get(machine.workspace_id)
        if workspace is None:
            continue
        for kind, over in (
            (Span.Kind.INSTANCE, machine.state not in _RUNS),
            (Span.Kind.VOLUME, machine.state in _GONE),
        ):
            span = spans.pop((workspace.pk, machine.instance_id, kind), None)
            span = _begun(span, machine, workspace, kind, at)
            if over:
                _end(span, machine.ended_at or _end_of_unseen(span, at), at)
            else:
                seen.append(span.pk)
    for span in spans.values():
        _end(span, _end_of_unseen(span, at), at)
    Span.objects.filter(pk__in=seen).update(seen_at=at)
    _ready(seen)


def _begun(span: Span | None, machine: Machine, workspace: Workspace, kind: str, at: datetime) -> Span:
    """The open span of this machine; another one where it was started again meanwhile."""
    began = machine.launched_at
    if span is not None and (kind == Span.Kind.VOLUME or span.began_at == began):
        return span
    if span is not None:
        _end(span, min(_end_of_unseen(span, at), began), at)
    found, _ = Span.objects.get_or_create(
        workspace=workspace,
        instance_id=machine.instance_id,
        kind=kind,
        began_at=began,
        defaults={
            "owner_id": workspace.owner_id,
            "region": workspace.cloud_account.region,
            "size": machine.instance_type,
            "gb": workspace.volume_gb if kind == Span.Kind.VOLUME else 0,
            "seen_at": at,
        },
    )
    return found


def _end(span: Span, ended: datetime, at: datetime) -> None:
    ended = min(max(ended, span.began_at), max(at, span.began_at))
    Span.objects.filter(pk=span.pk, ended_at=None).update(ended_at=ended)


def _end_of_unseen(span: Span, at: datetime) -> datetime:
    """When something ended of which nobody says when: now, if it was seen a moment ago; else when last heard of."""
    if at - span.seen_at <= AWAY:
        return at
    heard = Instance.objects.filter(workspace=span.workspace_id, instance_id=span.instance_id, heartbeat_at__lt=at)
    return max([span.seen_at, *filter(None, heard.values_list("heartbeat_at", flat=True))])


def _ready(span_ids: Iterable[str]) -> None:
    """Note the first word of agents, and which run had waited for it.

    An agent that was started again has said its first word twice: what it did before tells of the first.
    """
    for span in Span.objects.filter(pk__in=list(span_ids), kind=Span.Kind.INSTANCE, ready_at=None):
        instance = Instance.objects.filter(workspace=span.workspace_id, instance_id=span.instance_id).first()
        if instance is None or instance.registered_at is None or instance.registered_at < span.began_at:
            continue
        ready = min(
            [instance.registered_at, *steps_of(span).order_by("began_at").values_list("began_at", flat=True)[:1]]
        )
        Span.objects.filter(pk=span.pk).update(ready_at=ready, run=_waiting(span.workspace_id, ready))


def _waiting(workspace_id: str, ready: datetime) -> Run | None:
    """The run that waited for an instance: the oldest that is spread over several, else the oldest."""
    runs = Run.objects.filter(workspace=workspace_id, created_at__lt=ready)
    runs = runs.filter(Q(finished_at=None) | Q(finished_at__gt=ready))
    return runs.order_by(F("at_once").desc(nulls_last=True), "created_at", "id").first()
