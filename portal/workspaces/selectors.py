"""Questions about workspaces."""

from __future__ import annotations

from typing import TypedDict

from django.conf import settings
from django.db.models import QuerySet

from portal.accounts.models import User
from portal.core.errors import Conflict, NotFound
from portal.workspaces.models import Instance, TerraformRun, Workspace

NO_ENGINE = (
    "New instances bring Docker; those from before containers do not get it afterwards. Destroy the workspace, keep "
    "its data, and apply it again: that makes new ones. In the embedded cloud, start this machine's engine instead."
)


def workspaces_of(owner: User) -> QuerySet[Workspace]:
    """A person's workspaces, newest first, without those that are gone with their data."""
    return Workspace.objects.filter(owner=owner, claimed_name__isnull=False).select_related(
        "cloud_account", "active_run"
    )


def workspace_get(*, owner: User, workspace_id: str) -> Workspace:
    """One of a person's workspaces, also one that is gone. Raises ``NotFound``."""
    found = Workspace.objects.filter(owner=owner, pk=workspace_id).select_related("cloud_account", "active_run").first()
    if found is None:
        raise NotFound("There is no such workspace.")
    return found


def terraform_run_get(*, owner: User, run_id: str) -> TerraformRun:
    """A Terraform run on one of a person's workspaces. Raises ``NotFound``."""
    found = TerraformRun.objects.filter(workspace__owner=owner, pk=run_id).select_related("workspace").first()
    if found is None:
        raise NotFound("There is no such Terraform run.")
    return found


def instances_shown(workspace: Workspace) -> QuerySet[Instance]:
    """The instances that a person wants to see: all but those that were terminated."""
    return workspace.instances.exclude(state=Instance.State.TERMINATED).order_by("created_at")


def containers_require(workspace: Workspace) -> None:
    """Raises ``Conflict`` where an instance has said that it can run no containers: any of them may get such a step.

    Those that are stopped count with what they said last; those that have said nothing yet do not.
    """
    known = instances_shown(workspace).filter(engine=Instance.Engine.NONE)
    without = list(known.exclude(instance_id__in=workspace.nodes_leaving).values_list("instance_id", flat=True))
    if without:
        why = f"there is no Docker engine on {', '.join(without[:5])}."
        raise Conflict(
            f"{workspace.name} cannot run containers: {why}",
            code="container_unavailable",
            hint=NO_ENGINE,
            fields={"container": f"{why} {NO_ENGINE}"},  # whole: a form shows what stands at its field alone
        )


def reachable(workspace: Workspace) -> Instance | None:
    """The instance that a person would SSH into."""
    # Chosen here and not by the database, so that a list whose instances are at hand asks for no more.
    running = [i for i in workspace.instances.all() if i.state == Instance.State.RUNNING and i.public_ip]
    return min(running, key=lambda instance: instance.created_at, default=None)


class SshAddress(TypedDict):
    """How to log in: the command, its parts, and the lines that make the host known beforehand."""

    command: str
    host: str
    port: int
    user: str
    known_hosts: list[str]


def ssh_address(workspace: Workspace) -> SshAddress | None:
    """How to SSH into the workspace's first running instance; nothing while none runs."""
    instance = reachable(workspace)
    if instance is None:
        return None
    host, port = instance.public_ip, settings.SSH_PORT
    known_as = host if port == 22 else f"[{host}]:{port}"
    option = "" if port == 22 else f"-p {port} "
    return SshAddress(
        command=f"ssh {option}analyst@{host}",
        host=host,
        port=port,
        user="analyst",
        known_hosts=[f"{known_as} {key}" for key in instance.ssh_host_keys],
    )


def cloud_address(workspace: Workspace) -> dict[str, str]:
    """Where the workspace's bucket is: ``endpoint_url`` (empty on AWS itself), ``region``, ``bucket``."""
    return {
        "endpoint_url": settings.PUBLIC_AWS_ENDPOINT_URL,
        "region": workspace.cloud_account.region,
        "bucket": workspace.bucket,
    }
