"""Workspaces, scripts and runs as rows, without a cloud, for pages to show."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.accounts.models import User
from portal.clouds.models import CloudAccount
from portal.pipelines.models import FINAL, LogChunk, Run, Script, ScriptVersion, Step
from portal.pipelines.services import LIMITS
from portal.workspaces.models import Instance, TerraformRun, Workspace

_INLINE = re.compile(
    r"<script(?![^>]*\bsrc=)(?![^>]*type=\"application/json\")|<style|\sstyle=|\son[a-z]+=|javascript:", re.I
)


def assert_no_inline(html: str) -> None:
    """The policy forbids inline scripts and styles: a page that has them is broken in a browser."""
    found = _INLINE.search(html)
    assert not found, html[max(0, found.start() - 80) : found.end() + 80]


@pytest.fixture
def account(db: None) -> CloudAccount:
    return CloudAccount.objects.create(
        name="Orca", account_id="1" * 12, region="eu-central-1", role_arn="arn:aws:iam::1:role/x", external_id="e"
    )


WorkspaceMaker = Callable[..., Workspace]


@pytest.fixture
def workspace_made(owner: User, account: CloudAccount) -> WorkspaceMaker:
    """``workspace_made("ready", name="Lab")``; with an instance where the state has one."""

    def make(state: str = "ready", *, name: str = "Lab", by: User = owner, **more: Any) -> Workspace:
        workspace = Workspace.objects.create(
            owner=by, name=name, claimed_name=name, cloud_account=account, state=state, **more
        )
        if state in {"ready", "degraded", "stopped"}:
            Instance.objects.create(
                workspace=workspace,
                instance_id=f"i-{name}",
                state="stopped" if state == "stopped" else "running",
                public_ip="" if state == "stopped" else "127.3.4.5",
                registered_at=timezone.now(),
                heartbeat_at=timezone.now(),
                ssh_host_keys=["ssh-ed25519 AAAAHOST"],
            )
        return workspace

    return make


@pytest.fixture
def workspace(workspace_made: WorkspaceMaker) -> Workspace:
    return workspace_made()


CHANGES = [
    {"address": "module.storage.aws_s3_bucket.this", "type": "aws_s3_bucket", "action": "create"},
    {"address": "module.compute[0].aws_instance.this[0]", "type": "aws_instance", "action": "create"},
]


def terraform_run_made(workspace: Workspace, state: str, **more: Any) -> TerraformRun:
    """A Terraform run with a plan of two resources; it holds the workspace's lock unless it has ended."""
    given: dict[str, Any] = {"operation": "apply", "changes": CHANGES, "to_add": 2} | more
    run = TerraformRun.objects.create(workspace=workspace, state=state, started_at=timezone.now(), **given)
    if state not in TerraformRun.FINAL:
        workspace.active_run = run
        workspace.save(update_fields=["active_run"])
    return run


@pytest.fixture
def version(owner: User) -> ScriptVersion:
    script = Script.objects.create(owner=owner, name="Weather", claimed_name="Weather")
    files = [{"path": "main.py", "size": 20}, {"path": "lib/a.py", "size": 4}]
    return ScriptVersion.objects.create(
        script=script, number=1, sha256="a" * 64, size=24, files=files, entrypoint="main.py", runtime="python"
    )


RunMaker = Callable[..., Run]


@pytest.fixture
def run_made(owner: User, workspace: Workspace, version: ScriptVersion) -> RunMaker:
    """``run_made("failed", lines=[["out", "hello"]], exit_code=2)``: a run with its one step and its log."""

    def make(state: str = "succeeded", *, name: str = "Weather", lines: Any = (), **step: Any) -> Run:
        now = timezone.now()
        times = {
            "started_at": None if state == "queued" else now - timedelta(minutes=1),
            "finished_at": now if state in FINAL else None,
        }
        run = Run.objects.create(
            owner=owner, workspace=workspace, script=version.script, name=name, state=state, **times
        )
        made = Step.objects.create(
            run=run,
            workspace=workspace,
            name=name,
            version=version,
            state=state,
            attempt=0 if state == "queued" else 1,
            executions=0 if state == "queued" else 1,
            limits={key: default for key, (default, _, _) in LIMITS.items()},
            log_lines=len(lines),
            **times,
            **step,
        )
        log_grown(made, lines)
        return run

    return make


def log_grown(step: Step, lines: Any, *, first: int = 1) -> None:
    """Lines ``[stream, text]`` that an agent sent."""
    if lines:
        stamped = [[stream, 1.0, text] for stream, text in lines]
        LogChunk.objects.create(step=step, execution=step.executions, first=first, count=len(lines), lines=stamped)
        Step.objects.filter(pk=step.pk).update(log_lines=first + len(lines) - 1)
