"""A ready workspace on paper, a script in it, and an agent's pen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from agents.orca_agent import protocol
from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.core.ids import new_id
from portal.pipelines import services
from portal.pipelines.models import Run, ScriptVersion, Step
from portal.pipelines.reports import Signers, envelope_open, envelopes_apply
from portal.workspaces.control import signing_key
from portal.workspaces.models import Instance, Workspace
from tests.conftest import workspace_resources_make

INSTANCE = "i-0123456789abcdef0"
Committed = Callable[..., Any]


def ready_workspace(owner: User, account: CloudAccount, *, name: str = "lab", slots: int = 2) -> Workspace:
    workspace = Workspace.objects.create(
        owner=owner,
        name=name,
        claimed_name=name,
        cloud_account=account,
        state="ready",
        slots=slots,
        ready_at=timezone.now(),
    )
    workspace_resources_make(workspace.pk)
    Instance.objects.create(
        workspace=workspace,
        instance_id=INSTANCE,
        boot_id="boot",
        state="running",
        slots=slots,
        heartbeat_at=timezone.now(),
    )
    return workspace


@pytest.fixture
def workspace(owner: User, cloud_account: CloudAccount) -> Workspace:
    return ready_workspace(owner, cloud_account)


@pytest.fixture
def version(owner: User, workspace: Workspace) -> ScriptVersion:
    upload = SimpleUploadedFile("main.py", b"print('hello')\n")
    return services.script_create(owner=owner, name="hello", uploads=[upload])


@pytest.fixture
def run_started(
    owner: User, workspace: Workspace, version: ScriptVersion, django_capture_on_commit_callbacks: Any
) -> Callable[..., Run]:
    """Press Run, and let the commit do what it does."""

    def press(**given: Any) -> Run:
        with django_capture_on_commit_callbacks(execute=True):
            return services.run_create(owner=owner, workspace=workspace, version=version, **given)

    return press


def envelope_apply(*, body: str) -> int:
    """Apply one message as the relay does with many; how many of its events were new."""
    signers = Signers()
    return envelopes_apply(envelopes=[envelope_open(body=body, signers=signers)], signers=signers)


def only_step(run: Run) -> Step:
    return Step.objects.get(run=run)


def queued_tasks(workspace: Workspace) -> list[protocol.AnyTask]:
    """What lies in the workspace's queue; taken out of it."""
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=workspace.tasks_queue)["QueueUrl"]
    found: list[protocol.AnyTask] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            found.extend(protocol.parse_tasks(message["Body"], workspace.pk))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


@dataclass
class Agent:
    """Signs and sends what an agent would; ``key`` and ``name`` can be forged."""

    workspace: Workspace
    committed: Committed
    key: bytes = b""
    instance: str = INSTANCE

    def say(self, *events: protocol.Event) -> int:
        key = self.key or signing_key(self.workspace)
        body = protocol.sign_envelope(self.workspace.pk, self.instance, events, key, sent_at=time.time())
        with self.committed(execute=True):
            return envelope_apply(body=body)

    def started(self, step: Step, attempt: int = 1, *, boot_id: str = "boot") -> protocol.StepStarted:
        return protocol.StepStarted(
            id=new_id(), at=time.time(), run=step.run_id, step=step.pk, attempt=attempt, boot_id=boot_id
        )

    def returned(self, step: Step, attempt: int = 1) -> protocol.StepReturned:
        return protocol.StepReturned(id=new_id(), at=time.time(), run=step.run_id, step=step.pk, attempt=attempt)

    def finished(self, step: Step, state: str = "succeeded", attempt: int = 1, **more: Any) -> protocol.StepFinished:
        given = {"exit_code": 0, "signal": None, "reason": "completed", "message": "", "boot_id": "boot"} | more
        now = time.time()
        return protocol.StepFinished(
            id=new_id(),
            at=now,
            run=step.run_id,
            step=step.pk,
            attempt=attempt,
            state=state,
            started_at=now - 1,
            finished_at=now,
            **given,
        )

    def log(self, step: Step, first: int, *texts: str, boot_id: str = "boot", attempt: int = 1) -> protocol.StepLog:
        lines = tuple(protocol.LogLine("out", time.time(), text) for text in texts)
        return protocol.StepLog(
            id=new_id(),
            at=time.time(),
            run=step.run_id,
            step=step.pk,
            attempt=attempt,
            first=first,
            lines=lines,
            boot_id=boot_id,
        )

    def heartbeat(self, *steps: Step) -> protocol.InstanceHeartbeat:
        running = tuple(protocol.RunningStep(step.pk, 1) for step in steps)
        return protocol.InstanceHeartbeat(
            id=new_id(),
            at=time.time(),
            boot_id="boot",
            slots=2,
            running=running,
            load=0.1,
            memory_free_mb=100,
            disk_free_mb=1000,
        )


@pytest.fixture
def agent(workspace: Workspace, django_capture_on_commit_callbacks: Any) -> Agent:
    return Agent(workspace, django_capture_on_commit_callbacks)
