"""Background work on workspaces: each task takes an id and calls one service. Unknown arguments are tolerated."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from portal.workspaces import control, instances, letting_go, terraform_director, terraform_runs


@shared_task
def terraform_run_execute(run_id: str, **_: Any) -> str:
    return terraform_director.terraform_run_execute(run_id=run_id)


@shared_task
def terraform_runs_sweep(**_: Any) -> int:
    return terraform_runs.terraform_runs_sweep()


@shared_task
def workspace_power(workspace_id: str, **_: Any) -> None:
    instances.workspace_power(workspace_id=workspace_id)


@shared_task
def instances_sweep(**_: Any) -> int:
    return instances.instances_sweep() + control.controls_sweep()


@shared_task
def leases_renew(**_: Any) -> int:
    return control.leases_renew()


@shared_task
def instances_leave(workspace_id: str, **_: Any) -> int:
    return letting_go.instances_leave(workspace_id=workspace_id)
