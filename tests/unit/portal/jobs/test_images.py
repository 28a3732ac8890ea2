"""The image that the first shard was built with is that of the others, and of later jobs of the same files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from portal.accounts.models import User
from portal.jobs.models import Job, PinnedImage
from portal.pipelines import services
from portal.pipelines.bundles import PathUpload
from portal.pipelines.models import Step
from portal.workspaces.models import Workspace
from tests.unit.portal.jobs.conftest import Agent, Found, shard_end

pytestmark = pytest.mark.django_db
IMAGE, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@pytest.fixture
def boxed(owner: User, split: Callable[..., Job], workspace: Workspace, sky: list[Found]) -> Callable[[], Job]:
    """A job in a container, of twenty shards of which four are handed out."""
    sky[:] = [Found(f"scene-{number}") for number in range(20)]
    files = [
        PathUpload(SimpleUploadedFile("main.py", b"print(1)"), "main.py"),
        PathUpload(SimpleUploadedFile("Dockerfile", b"FROM orca/python"), "Dockerfile"),
    ]
    services.script_create(owner=owner, name="boxed", uploads=files)
    container: dict[str, Any] = {"dockerfile": "Dockerfile"}
    return lambda: split(script="boxed", container=container, shards={"most_items": 1})


def pins(job: Job, **having: Any) -> set[str | None]:
    return {step.container.get("pinned") for step in Step.objects.filter(run=job.run_id, **having)}


def test_the_first_image_is_pinned_for_what_is_not_out_yet(
    boxed: Callable[[], Job], agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.jobs.images.enqueue_on_commit", _at_once)
    job = boxed()
    assert pins(job) == {None}
    first = Step.objects.filter(run=job.run_id).order_by("position")[0]
    out = list(Step.objects.filter(run=job.run_id, released_at__isnull=False).values_list("pk", flat=True))
    shard_end(agent, first, image=IMAGE)
    job.refresh_from_db()
    assert job.image == IMAGE
    assert pins(job, released_at=None) == {IMAGE}
    assert None in pins(job, pk__in=out)
    shard_end(agent, Step.objects.get(run=job.run_id, position=2), image=OTHER)
    job.refresh_from_db()
    assert job.image == IMAGE


def test_a_later_job_of_the_same_files_gets_the_same(
    boxed: Callable[[], Job], agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.jobs.images.enqueue_on_commit", _at_once)
    first = boxed()
    shard_end(agent, Step.objects.filter(run=first.run_id).order_by("position")[0], image=IMAGE)
    assert PinnedImage.objects.count() == 1
    assert pins(boxed()) == {IMAGE}


def _at_once(task: str, job_id: str) -> None:
    from portal.jobs.images import image_pin

    image_pin(job_id=job_id)
