"""What pages show of a workspace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Prefetch

from portal.accounts.models import User
from portal.accounts.selectors import ssh_keys_of
from portal.clouds.models import CloudAccount
from portal.pipelines.models import OPEN
from portal.pipelines.selectors import runs_listed
from portal.schedules.selectors import schedules_in
from portal.web.states import WORKSPACE_WORDS
from portal.web.terraform_shown import Progress, progress_of
from portal.workspaces.models import Instance, TerraformRun, Workspace
from portal.workspaces.secrets import secrets_of
from portal.workspaces.selectors import instances_shown, ssh_address, workspace_get, workspaces_of

State = Workspace.State


@dataclass(frozen=True)
class Actions:
    """What may be done with a workspace now; each is what the services would allow."""

    stop: bool
    start: bool
    apply: bool
    destroy: bool
    delete_data: bool


def actions_of(workspace: Workspace) -> Actions:
    """What the buttons offer. The services decide; this only hides what they would refuse."""
    run = workspace.active_run
    idle = run is None
    leaving = workspace.stop_requested_at is not None
    stoppable = not leaving and (run is None or run.settles)
    gone = workspace.state == State.DESTROYED
    unlinked = workspace.cloud_account.state == CloudAccount.State.UNLINKED
    return Actions(
        stop=stoppable and workspace.state in {State.READY, State.DEGRADED},
        start=leaving or (idle and workspace.state == State.STOPPED),
        apply=idle and not unlinked and workspace.state in {State.READY, State.DEGRADED, State.FAILED, State.DESTROYED},
        destroy=idle and not gone and workspace.state != State.REQUESTED,
        delete_data=idle and (not gone or workspace.data_kept) and workspace.state != State.REQUESTED,
    )


def workspaces_shown(owner: User) -> list[Workspace]:
    """A person's workspaces with their instances at hand."""
    alive = Instance.objects.exclude(state=Instance.State.TERMINATED).order_by("created_at")
    found = workspaces_of(owner).select_related(None).select_related("active_run")
    # What may be long and no list shows.
    found = found.defer("outputs", "active_run__changes", "active_run__error_message", "active_run__error_hint")
    return list(found.prefetch_related(Prefetch("instances", alive, to_attr="alive")))


def workspace_shown(owner: User, workspace_id: str) -> dict[str, Any]:
    """All that the page of a workspace shows. Raises NotFound."""
    workspace = workspace_get(owner=owner, workspace_id=workspace_id)
    history = list(workspace.terraform_runs.select_related("requested_by")[:6])
    runs = list(runs_listed(owner).filter(workspace=workspace)[:6])
    return {
        "workspace": workspace,
        "words": _words(workspace),
        "actions": actions_of(workspace),
        "progress": _progress_shown(workspace, history),
        "history": history,
        "instances": list(instances_shown(workspace)),
        "ssh": ssh_address(workspace),
        "has_key": ssh_keys_of(owner).exists(),
        "can_lend": workspace.ready_at is not None and workspace.state not in {State.DESTROYING, State.DESTROYED},
        "secrets": list(secrets_of(workspace)),
        "runs": runs,
        "schedules": list(schedules_in(workspace)[:6]),
        "busy": sum(run.state in OPEN for run in runs),
    }


def _words(workspace: Workspace) -> str:
    run = workspace.active_run
    if run is not None and run.state == TerraformRun.State.PLANNED:
        return "The plan is made. Read it, and say whether it shall be applied."
    return WORKSPACE_WORDS.get(workspace.state, "")


def _progress_shown(workspace: Workspace, history: list[TerraformRun]) -> Progress | None:
    """The run that holds the lock, or the newest one if it failed."""
    if workspace.active_run is not None:
        return progress_of(workspace.active_run, lines=12)
    newest = history[0] if history else None
    if newest is not None and newest.state == TerraformRun.State.FAILED:
        return progress_of(newest, lines=12)
    return None
