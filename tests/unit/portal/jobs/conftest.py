"""A ready workspace on paper, a script in it, and jobs over made-up items."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from portal.accounts.models import User
from portal.jobs import finding, services
from portal.jobs.models import Job
from tests.unit.portal.pipelines.conftest import Agent, agent, ready_workspace, run_started, version, workspace

__all__ = ["Agent", "Found", "agent", "ready_workspace", "run_started", "version", "workspace"]


@dataclass
class Found:
    """An item on paper."""

    id: str
    size: int = 0
    properties: dict[str, Any] = field(default_factory=dict)
    assets: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """Its line of the manifest."""
        return json.dumps({"id": self.id, "properties": self.properties, "assets": self.assets})


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
