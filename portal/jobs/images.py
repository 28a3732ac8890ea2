"""Which image a job's shards run in: the one that the first of them was built with, for the others and for retries.

A later job of the same files gets the same, so that what ran once runs again, whatever has become of the base image.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.db import transaction

from portal.core.background import enqueue_on_commit
from portal.jobs.models import Job, PinnedImage
from portal.pipelines.models import OPEN, Step

PIN = "portal.jobs.tasks.image_pin"


def container_of(job: Job) -> dict[str, Any]:
    """What the job's shards run in; nothing where that is no container."""
    container = job.definition["container"]
    if container is None:
        return {}
    pinned = job.image or _known(job)
    return {**container, "pinned": pinned} if pinned else dict(container)


def build_of(job: Job) -> str:
    """The hash of what goes into the image: the files and which of them says how, or the name of a base image."""
    container = job.definition["container"]
    how = f"dockerfile {container['dockerfile']}" if container.get("dockerfile") else f"image {container['image']}"
    return hashlib.sha256(f"{job.version.sha256} {how}".encode()).hexdigest()


def _known(job: Job) -> str:
    found = PinnedImage.objects.filter(workspace=job.workspace_id, build=build_of(job)).first()
    return found.digest if found else ""


def images_note(jobs: list[Job]) -> None:
    """Have the image of these jobs pinned, where a shard has told it. Within the transaction of its end."""
    for job in jobs:
        wanted = not job.image and job.definition.get("container")
        if wanted and Step.objects.filter(run=job.run_id, image__gt="").exists():
            enqueue_on_commit(PIN, job.pk)


def image_pin(*, job_id: str) -> int:
    """Pin the image that a job's first shard told of for those that were not handed out yet; how many."""
    job = Job.objects.select_related("version").get(pk=job_id)
    told = Step.objects.filter(run=job.run_id, image__gt="").order_by("finished_at").values_list("image", flat=True)
    image = told.first()
    if image is None or job.definition["container"] is None:
        return 0
    with transaction.atomic():
        if not Job.objects.filter(pk=job.pk, image="").update(image=image):
            return 0
        pinned, _ = PinnedImage.objects.get_or_create(
            workspace_id=job.workspace_id,
            build=build_of(job),
            defaults={"digest": image, "owner_id": job.owner_id},
        )
        Job.objects.filter(pk=job.pk).update(image=pinned.digest)
        waiting = Step.objects.filter(run=job.run_id, state__in=OPEN, released_at=None)
        return waiting.update(container={**job.definition["container"], "pinned": pinned.digest})
