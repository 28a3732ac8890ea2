"""Whatever stands in an address or in a form, a page answers in words, without a fault; and it never is markup."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, get_resolver
from django.utils import timezone

from portal.accounts.models import User
from portal.accounts.services import api_token_add, ssh_key_add
from portal.clouds.models import CloudAccount
from portal.jobs.models import Job
from portal.notices.models import Notice, Subscription
from portal.pipelines.models import Run, Script, ScriptVersion, Step
from portal.pipelines.pipelines import pipeline_apply
from portal.pipelines.services import LIMITS
from portal.schedules.services import schedule_create
from portal.schedules.targets import Target
from portal.schedules.timing import Timing
from portal.workspaces.models import Secret, TerraformRun
from tests.unit.portal.pipelines.conftest import ready_workspace
from tests.unit.portal.web.conftest import assert_no_inline

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHXbHQ4mY0N9kyNmNTM3GUnYXDkz2ccqp4w1+6Jq3n3p ada"
MARKUP = "\"'><script>alert(1)</script>{{ 7 * 7 }}"
VALUES = {
    "empty": "",
    "markup": MARKUP,
    "NUL": "a\0b",
    "a line end": "a\r\nSet-Cookie: x=1",
    "long": "9" * 5_000,
    "a large number": "9" * 30,
    "negative": "-1",
    "not a number": "1e3",
    "digits of others": "²٣",
    "a path": "../../etc/passwd",
    "SQL": "' OR 1=1 --",
    "emoji": "🐳\u202e\u2028",
    "deep": "[" * 20_000,
    "surrogates": '["\\ud800"]',
}
ASKED = [
    *("q", "state", "script", "workspace", "before", "after", "like", "version", "file", "step", "page"),
    *("pipeline", "span", "try", "replace", "code", "review", "kind", "at", "expression", "zone"),
    *("shards", "from", "until", "input_job"),
]
SENT = [
    "name",
    "description",
    "entrypoint",
    "paths",
    "arguments",
    "variable",
    "value",
    "seconds",
    "memory_mb",
    "output_mb",
    "processes",
    "log_mb",
    "workspace",
    "version",
    "instance_type",
    "volume_gb",
    "review",
    "delete_data",
    "confirm_name",
    "public_key",
    "key_name",
    "token_name",
    "days",
    *("source", "abandon", "channel", "cloud_account", "code", "email", "everything", "late_minutes", "on", "pipeline"),
    *("pipelines", "role", "script", "scripts", "secrets", "silent_hours", "url", "enabled", "id", "kind", "action"),
    *("expression", "every", "unit", "at", "zone", "missed", "parameters", "account_id", "region"),
    *("container", "image", "dockerfile", "network", "collections", "west", "south", "east", "north", "since", "until"),
    *("query", "assets", "limit", "key_prefix", "pattern", "urls", "requester_pays", "input_job", "nodes", "by"),
    *("shard_number", "most_items", "most_mb", "retries", "budget", "keep_days", "environment"),
]


@pytest.fixture
def ours(owner: User, cloud_account: CloudAccount) -> dict[str, str]:
    """One of everything: the value of each argument that a page's route has."""
    workspace = ready_workspace(owner, cloud_account)
    script = Script.objects.create(owner=owner, name="hello", claimed_name="hello")
    files = [{"path": "main.py", "size": 1}]
    version = ScriptVersion.objects.create(
        script=script, number=1, sha256="a" * 64, size=1, files=files, entrypoint="main.py", runtime="python"
    )
    run = Run.objects.create(owner=owner, workspace=workspace, script=script, name="hello")
    outputs = [{"path": "a.txt", "size": 1, "content_type": "text/plain"}]
    limits = {key: default for key, (default, _, _) in LIMITS.items()}
    step = Step.objects.create(
        run=run, workspace=workspace, name="hello", version=version, limits=limits, outputs=outputs, attempt=1
    )
    job = Job.objects.create(
        owner=owner, workspace=workspace, run=run, script=script, version=version, name="many", definition={}
    )
    token, _ = api_token_add(owner=owner, name="test")
    pipeline, _, _ = pipeline_apply(owner=owner, source="name: p\nworkspace: lab\nsteps: [{name: a, script: hello}]\n")
    timing, target = Timing("cron", expression="* * * * *"), Target("stop", workspace=workspace.pk)
    told = Subscription.objects.create(owner=owner, name="Mail", channel="email", address=owner.email)
    notice = Notice.objects.create(
        subscription=told, kind="failure", event="x", run=run, subject="hello failed", give_up_at=timezone.now()
    )
    linked = CloudAccount.objects.create(
        owner=owner,
        name="mine",
        claimed_name="mine",
        account_id="2" * 12,
        region="eu-central-1",
        role_arn="arn:aws:iam::222222222222:role/orca-link",
        external_id="made-by-orca-for-this-link",
    )
    return {
        "pipeline_id": pipeline.pk,
        "schedule_id": schedule_create(owner=owner, name="stop", timing=timing, target=target).pk,
        "notification_id": told.pk,
        "delivery_id": notice.pk,
        "account_id": linked.pk,
        "month": f"{timezone.now():%Y-%m}",
        "secret_name": Secret.objects.create(workspace=workspace, name="API_KEY", changed_at=timezone.now()).name,
        "workspace_id": workspace.pk,
        "script_id": script.pk,
        "run_id": run.pk,
        "step_id": step.pk,
        "job_id": job.pk,
        "kind": "job.yaml",
        "terraform_run": TerraformRun.objects.create(workspace=workspace, operation="apply", state="planned").pk,
        "key_id": ssh_key_add(owner=owner, name="laptop", public_key=KEY).pk,
        "token_id": str(token.pk),
        "path": "a.txt",
    }


def pages(ours: dict[str, str]) -> Iterator[str]:
    """The addresses of all our pages but those that stream."""
    for entry in get_resolver("portal.web.urls").url_patterns:
        assert isinstance(entry, URLPattern)
        text = str(entry.pattern)
        if text.endswith("live/"):
            continue
        for name, converter in entry.pattern.converters.items():
            kind = next(kind for kind in ("slug", "str", "path", "int") if f"<{kind}:{name}>" in text)
            value = ours["terraform_run"] if text.startswith("terraform-runs/") and name == "run_id" else ours[name]
            assert converter.to_python(value) == value
            text = text.replace(f"<{kind}:{name}>", value)
        yield f"/{text}"


def checked(answer: Any, address: str, said: str) -> None:
    where = f"{address} with {said}"
    assert answer.status_code < 500, where
    assert "x=1" not in str(answer.cookies), where
    if answer.headers.get("Content-Type", "").startswith("text/html") and not answer.streaming:
        shown = answer.content.decode()
        assert "<script>alert" not in shown, where
        assert_no_inline(shown)


def test_addresses(browser: Client, ours: dict[str, str]) -> None:
    for address in pages(ours):
        for said, value in VALUES.items():
            checked(browser.get(address, dict.fromkeys(ASKED, value)), address, said)


def test_forms(browser: Client, ours: dict[str, str]) -> None:
    for address in pages(ours):
        for said, value in VALUES.items():
            for more in ({}, {"workspace": ours["workspace_id"], "version": "1", "name": "fine"}):
                file = SimpleUploadedFile("main.py", b"print(1)")
                body = {**dict.fromkeys(SENT, value), "files": file, **more}
                with transaction.atomic():
                    answer = browser.post(address, body, headers={"Referer": f"http://testserver{address}"})
                    transaction.set_rollback(True)
                checked(answer, address, said)
