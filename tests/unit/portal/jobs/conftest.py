"""A ready workspace on paper, a script in it, and jobs over made-up items."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from agents.orca_agent import protocol
from portal.accounts.models import User
from portal.jobs import finding, services
from portal.jobs.models import Job
from portal.jobs.work import job_work
from portal.pipelines.models import Step
from tests.unit.portal.pipelines.conftest import Agent, agent, ready_workspace, run_started, version, workspace

__all__ = ["Agent", "Found", "agent", "ready_workspace", "run_started", "version", "workspace"]


@dataclass
class Found:
    """An item on paper."""

    id: str
    size: int = 0
    properties: dict[str, Any] = field(default_factory=dict)
    assets: dict[str, Any] = field(default_factory=dict)
    collection: str | None = None

    def line(self) -> str:
        """Its line of the manifest."""
        return json.dumps(
            {"id": self.id, "collection": self.collection, "properties": self.properties, "assets": self.assets}
        )


@pytest.fixture
def sky(monkeypatch: pytest.MonkeyPatch) -> list[Found]:
    """What a search finds; three items, unless a test changes them."""
    found = [Found(f"scene-{number}", size=number) for number in (1, 2, 3)]

    def items(job: Job, alive: Callable[[], None]) -> Iterator[Found]:
        for item in found:
            alive()
            yield item

    monkeypatch.setattr(finding, "items_found", items)
    monkeypatch.setattr(finding, "data_checked", dict)
    return found


@pytest.fixture
def submitted(
    owner: User, version: Any, sky: list[Found], django_capture_on_commit_callbacks: Any
) -> Callable[..., Job]:
    """Submit a job; what the commit does is done."""

    def submit(**given: Any) -> Job:
        submission = {"name": "blur the sky", "script": "hello", "data": {"urls": ["https://example.org/a"]}, **given}
        with django_capture_on_commit_callbacks(execute=True):
            return services.job_submit(owner=owner, submission=submission)

    return submit


def shard_end(agent: Agent, step: Step, state: str = "succeeded", **more: Any) -> None:
    """The agent says that a shard has ended; what it left lies in the bucket."""
    step.refresh_from_db()
    outputs = more.pop("files", {})
    for path, content in outputs.items():
        boto3.client("s3").put_object(
            Bucket=agent.workspace.bucket, Key=step.object_key(f"output/{path}"), Body=content
        )
    said = tuple(protocol.Output(path, len(content), "text/plain") for path, content in outputs.items())
    agent.say(agent.finished(step, state, attempt=step.attempt, outputs=said, **more))


@pytest.fixture
def split(submitted: Callable[..., Job], django_capture_on_commit_callbacks: Any) -> Callable[..., Job]:
    """Submit a job and have it searched and split."""

    def make(**given: Any) -> Job:
        job = submitted(**given)
        with django_capture_on_commit_callbacks(execute=True):
            job_work(job_id=job.pk)
        job.refresh_from_db()
        return job

    return make
