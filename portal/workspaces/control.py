"""The desired state that a workspace's instances read from its bucket, and the key that they sign events with."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable

from django.conf import settings
from django.db import transaction
from django.db.models import F

from agents.orca_agent import protocol
from portal.accounts.selectors import authorized_keys_of
from portal.clouds.services import account_handle
from portal.core.errors import CloudFault
from portal.gateways import aws_platform, aws_storage
from portal.workspaces.models import Workspace

logger = logging.getLogger(__name__)
KEY = "control/desired.json"

_cancelled_steps: list[Callable[[Workspace], list[str]]] = []


def contribute_cancelled_steps(source: Callable[[Workspace], list[str]]) -> None:
    """Let another app name the steps that instances are to stop."""
    _cancelled_steps.append(source)


def signing_key(workspace: Workspace) -> bytes:
    """The key for a workspace's events: derived, so that no database holds it."""
    name = f"orca-events:{workspace.pk}:{workspace.signing_generation}"
    return hmac.new(settings.SECRET_KEY.encode(), name.encode(), hashlib.sha256).digest()


def control_changed(workspace_ids: list[str]) -> None:
    """Note that the desired state of workspaces has changed, and publish it once that is committed."""
    Workspace.objects.filter(pk__in=workspace_ids).update(control_wanted=F("control_wanted") + 1)
    for workspace_id in workspace_ids:
        transaction.on_commit(lambda workspace_id=workspace_id: _publish_quietly(workspace_id))  # type: ignore[misc]


def _publish_quietly(workspace_id: str) -> None:
    try:
        control_publish(workspace_id=workspace_id)
    except CloudFault as error:
        logger.warning("desired state of %s not published yet, a sweep will: %s", workspace_id, error.message)


def control_publish(*, workspace_id: str) -> bool:
    """Write the desired state to the workspace's bucket; whether there is a bucket to write to.

    Two writers may overtake each other, so a writer looks again after it has written, and writes again when the
    generation has moved on: the last one to finish always leaves the newest state.
    """
    while True:
        workspace = Workspace.objects.select_related("cloud_account").get(pk=workspace_id)
        if not _has_bucket(workspace):
            return False
        account = account_handle(workspace.cloud_account)
        body = protocol.desired_body(_desired(workspace))
        aws_storage.put_bytes(account, workspace.bucket, KEY, body, "application/json")
        fresh = Workspace.objects.filter(pk=workspace_id, control_wanted=workspace.control_wanted)
        if fresh.update(control_published=workspace.control_wanted):
            return True


def _has_bucket(workspace: Workspace) -> bool:
    building = workspace.state in {Workspace.State.REQUESTED, Workspace.State.PLANNING}
    gone = workspace.state == Workspace.State.DESTROYED
    return not (building or gone)


def _desired(workspace: Workspace) -> protocol.Desired:
    agent = aws_platform.agent_current()
    return protocol.Desired(
        generation=workspace.control_wanted,
        authorized_keys=tuple(authorized_keys_of(workspace.owner_id)),
        cancelled=tuple(step for source in _cancelled_steps for step in source(workspace)),
        leaving=tuple(workspace.nodes_leaving),
        agent=protocol.Release(sha256=agent.sha256, key=agent.key, bucket=agent.bucket),
        lease=settings.PORTAL_GONE,
    )


def control_changed_for_owner(*, owner_id: str) -> None:
    """Note that something about a person has changed which all their instances must know."""
    control_changed(list(Workspace.objects.filter(owner_id=owner_id).values_list("pk", flat=True)))


def leases_renew() -> int:
    """Tell all instances that the portal is there still: those that do not hear of it shut themselves down.

    A new generation is all that it takes; the sweep publishes it. How many workspaces.
    """
    down = [Workspace.State.REQUESTED, Workspace.State.STOPPED, Workspace.State.DESTROYED]
    return Workspace.objects.exclude(state__in=down).update(control_wanted=F("control_wanted") + 1)


def controls_sweep() -> int:
    """Publish what could not be published when it changed; how many."""
    behind = Workspace.objects.filter(control_published__lt=F("control_wanted"))
    done = 0
    for workspace_id in behind.values_list("pk", flat=True):
        try:
            done += control_publish(workspace_id=workspace_id)
        except CloudFault as error:
            logger.warning("desired state of %s: %s", workspace_id, error.message)
    return done
