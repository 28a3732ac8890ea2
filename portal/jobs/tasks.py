"""Background work on jobs: each task calls one service. Unknown arguments are tolerated."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from portal.jobs import expiry, images, nodes, stragglers, work


@shared_task
def job_work(job_id: str, **_: Any) -> str:
    return work.job_work(job_id=job_id)


@shared_task
def jobs_sweep(**_: Any) -> int:
    return work.jobs_sweep() + stragglers.stragglers_sweep() + nodes.nodes_sweep()


@shared_task
def nodes_sweep(workspace_id: str = "", **_: Any) -> int:
    return nodes.nodes_sweep(workspace_id=workspace_id)


@shared_task
def image_pin(job_id: str, **_: Any) -> int:
    return images.image_pin(job_id=job_id)


@shared_task
def outputs_delete(job_id: str, **_: Any) -> int:
    return expiry.outputs_clear(job_id=job_id)


@shared_task
def outputs_expire(**_: Any) -> int:
    return expiry.outputs_expire()
