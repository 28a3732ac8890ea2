"""The API stands up to schemathesis: whatever is sent, no fault of ours, and only answers that its schema describes.

Each operation gets the cases at the edges of its schema and some at random, right and wrong, always the same. Every
other case that names something names what is there. What a case changed is undone before the next.
"""

from __future__ import annotations

import gc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.cache import cache
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, settings
from schemathesis.checks import load_all_checks
from schemathesis.core.result import Ok
from schemathesis.generation.hypothesis.builder import HypothesisTestConfig, HypothesisTestMode, create_test

from agents.orca_agent.protocol import Output
from portal.accounts.models import User
from portal.accounts.services import api_token_add, ssh_key_add
from portal.clouds.models import CloudAccount
from portal.jobs.models import Job
from portal.notices.models import Notice, Subscription
from portal.pipelines.models import Run, Script, ScriptVersion, Step
from portal.schedules.services import schedule_create, schedule_run_now
from portal.schedules.targets import Target
from portal.schedules.timing import Timing
from portal.workspaces.models import TerraformLine, TerraformRun
from portal.workspaces.secrets import secret_put
from tests.unit.portal.pipelines.conftest import Agent, ready_workspace

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHXbHQ4mY0N9kyNmNTM3GUnYXDkz2ccqp4w1+6Jq3n3p ada"
ALWAYS_THE_SAME = settings(
    derandomize=True, database=None, deadline=None, max_examples=12, suppress_health_check=list(HealthCheck)
)

load_all_checks()
CHECKS: list[Any] = [
    schemathesis.checks.CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    )
]


# All but what streams: that needs a server.
DOCUMENT: dict[str, Any] = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT).exclude(path_regex="/events/$")
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)}


@pytest.fixture(autouse=True)
def no_garbage_collected() -> Iterator[None]:
    """Hypothesis parses the source of lambdas. CPython before 3.11.5 may stumble over finalizers then (gh-106905)."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def portal() -> Iterator[WSGIHandler]:
    """Django itself, without a server; as with Django's own test client, requests leave the connection open."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield get_wsgi_application()
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def ours(owner: User, cloud_account: CloudAccount, django_capture_on_commit_callbacks: Any) -> dict[str, str]:
    """One of everything, the caller's own: what stands for each name of a parameter."""
    workspace = ready_workspace(owner, cloud_account)
    built = TerraformRun.objects.create(workspace=workspace, operation="apply", state="planned")
    TerraformLine.objects.create(run=built, number=1, at=timezone.now(), level="info", kind="log", text="hello")
    script = Script.objects.create(owner=owner, name="hello", claimed_name="hello")
    version = ScriptVersion.objects.create(
        script=script,
        number=1,
        sha256="a" * 64,
        size=1,
        files=[{"path": "main.py", "size": 1}],
        entrypoint="main.py",
        runtime="python",
    )
    run = Run.objects.create(owner=owner, workspace=workspace, script=script, name="hello")
    step = Step.objects.create(
        run=run,
        workspace=workspace,
        name="hello",
        version=version,
        attempt=1,
    )
    Step.objects.create(run=run, workspace=workspace, position=2, name="later", version=version)
    job = Job.objects.create(
        owner=owner, workspace=workspace, run=run, script=script, version=version, name="many", definition={}
    )
    agent = Agent(workspace, django_capture_on_commit_callbacks)
    agent.say(agent.log(step, 1, "hello"), agent.finished(step, outputs=(Output("a.txt", 1, "text/plain"),)))
    told = Subscription.objects.create(owner=owner, name="Mail", channel="email", address=owner.email)
    notice = Notice.objects.create(
        subscription=told, kind="failure", event="x", run=run, subject="hello failed", give_up_at=timezone.now()
    )
    schedule = schedule_create(
        owner=owner,
        name="nightly",
        timing=Timing("cron", expression="30 2 * * *"),
        target=Target("script", workspace=workspace.pk, script=script.pk),
    )
    schedule_run_now(schedule=schedule, by=owner)
    linked = CloudAccount.objects.create(
        owner=owner,
        name="mine",
        claimed_name="mine",
        account_id="2" * 12,
        region="eu-central-1",
        role_arn="arn:aws:iam::222222222222:role/orca-link",
        external_id="made-by-orca-for-this-link",
    )
    token, text = api_token_add(owner=owner, name="test")
    return {
        "account": linked.pk,
        "cloud_account": linked.pk,
        "workspace": workspace.pk,
        "script": script.pk,
        "run": run.pk,
        "step": step.pk,
        "job": job.pk,
        "terraform_run": built.pk,
        "schedule": schedule.pk,
        "key": ssh_key_add(owner=owner, name="laptop", public_key=KEY).pk,
        "token": str(token.id),
        "notification": told.pk,
        "delivery": notice.pk,
        "path": "a.txt",
        "month": f"{timezone.now():%Y-%m}",
        "secret_name": secret_put(workspace=workspace, name="API_KEY", value="hunter2", by=owner)[0].name,
        "authorization": f"Bearer {text}",
    }


def name_ours(case: schemathesis.Case[Any], ours: dict[str, str]) -> None:
    """Put what is there in the place of what was made up."""
    run = "terraform_run" if "/terraform-runs/" in case.path else "run"
    known = {**ours, **{f"{name}_id": value for name, value in ours.items()}, "run_id": ours[run]}
    for place in ("path_parameters", "query", "body"):
        made_up = getattr(case, place)
        if isinstance(made_up, dict):  # cases share their parts: none is changed
            setattr(case, place, {**made_up, **{name: known[name] for name in made_up if name in known}})


@pytest.mark.parametrize("label", OPERATIONS)
def test_every_answer_is_as_the_schema_says(label: str, portal: WSGIHandler, ours: dict[str, str]) -> None:
    def ask(case: schemathesis.Case[Any]) -> None:
        cache.clear()
        said = repr((case.path_parameters, case.query, case.body if isinstance(case.body, dict) else None))
        if zlib.crc32(said.encode("utf-8", "replace")) % 2:
            name_ours(case, ours)
        with transaction.atomic():
            answer = case.call(app=portal, headers={"Authorization": ours["authorization"]})
            transaction.set_rollback(True)
        case.validate_response(answer, checks=CHECKS)

    modes = list(HypothesisTestMode)
    config = HypothesisTestConfig(project=SCHEMA.config, modes=modes, settings=ALWAYS_THE_SAME)
    create_test(operation=OPERATIONS[label], test_func=ask, config=config)()
