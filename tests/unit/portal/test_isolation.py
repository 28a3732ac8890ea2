"""Invariant: no object of another user answers anything but 404, on any page or route of the API.

Every route of the resolver is walked as somebody else. One that is not known here fails the test, so that whoever adds
a route has to say what an outsider may see there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from portal.accounts.models import User
from portal.accounts.services import api_token_add, ssh_key_add
from portal.clouds.models import CloudAccount
from portal.jobs.models import Job
from portal.notices.models import Notice, Subscription
from portal.pipelines.models import LogChunk, Pipeline, PipelineVersion, Run, Script, ScriptVersion, Step
from portal.schedules.models import Schedule
from portal.schedules.services import schedule_create
from portal.schedules.targets import Target
from portal.schedules.timing import Timing
from portal.workspaces.models import Instance, Secret, TerraformLine, TerraformRun, Workspace
from tests.people import api_of, browser_of

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHXbHQ4mY0N9kyNmNTM3GUnYXDkz2ccqp4w1+6Jq3n3p ada"
METHODS = ("get", "post", "put", "patch", "delete")
SECRET_WORD = "Belongs-To-Ada"

# Anybody may open these.
PUBLIC = {"healthz", "api/schema/", "api/docs/", "api/v1/tokens/", "api/v1/device/", "api/v1/device/token/"}
# These show what belongs to whoever asks, and name no object of anyone.
PERSONAL = {
    "",
    "live/",
    "workspaces/",
    "workspaces/live/",
    "workspaces/new/",
    "scripts/",
    "scripts/new/",
    "pipelines/",
    "pipelines/live/",
    "pipelines/new/",
    "pipelines/check/",
    "runs/",
    "runs/live/",
    "jobs/",
    "jobs/live/",
    "jobs/new/",
    "jobs/preview/",
    "jobs/yaml/",
    "notifications/",
    "notifications/new/",
    "schedules/",
    "schedules/live/",
    "schedules/new/",
    "schedules/preview/",
    "device/",
    "clouds/",
    "clouds/new/",
    "account/",
    "usage/",
    "usage/budget/",
    "account/name/",
    "account/ssh-keys/",
    "account/tokens/",
    "api/v1/me/",
    "api/v1/usage/",
    "api/v1/budget/",
    "api/v1/ssh-keys/",
    "api/v1/cloud-accounts/",
    "api/v1/workspaces/",
    "api/v1/scripts/",
    "api/v1/runs/",
    "api/v1/pipelines/",
    "api/v1/pipelines/validate/",
    "api/v1/pipelines/schema/",
    "api/v1/jobs/",
    "api/v1/jobs/schema/",
    "api/v1/jobs/preview/",
    "api/v1/jobs/validate/",
    "api/v1/notifications/",
    "api/v1/schedules/",
    "api/v1/schedules/preview/",
}
STREAMS = ("live/",)
# Other people's code, with tests of its own: allauth acts on whoever is logged in, or on a secret from a mail.
FOREIGN = ("accounts/", "static/")


@dataclass(frozen=True)
class Route:
    """A route as text (``runs/<slug:run_id>/``) and the names of its arguments."""

    text: str
    arguments: tuple[str, ...]


def routes(resolver: Any = None, prefix: str = "") -> Iterator[Route]:
    for entry in (resolver or get_resolver()).url_patterns:
        text = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from routes(entry, text)
        elif isinstance(entry, URLPattern):
            yield Route(text, tuple(entry.pattern.converters) or tuple(entry.pattern.regex.groupindex))


@pytest.fixture
def belongings(owner: User) -> dict[str, str]:
    """One of everything, Ada's: the value of each argument that a route may have."""
    account = CloudAccount.objects.create(
        name="Orca", account_id="1" * 12, region="eu-central-1", role_arn="arn:aws:iam::1:role/x", external_id="e"
    )
    linked = CloudAccount.objects.create(
        owner=owner,
        name=SECRET_WORD,
        claimed_name=SECRET_WORD,
        account_id="2" * 12,
        region="eu-central-1",
        role_arn="arn:aws:iam::222222222222:role/x",
        external_id=SECRET_WORD,
    )
    workspace = Workspace.objects.create(
        owner=owner, name=SECRET_WORD, claimed_name=SECRET_WORD, cloud_account=account, state="ready"
    )
    Instance.objects.create(workspace=workspace, instance_id="i-1", state="running", heartbeat_at=timezone.now())
    terraform_run = TerraformRun.objects.create(workspace=workspace, operation="apply", state="planned")
    TerraformLine.objects.create(run=terraform_run, number=1, at=timezone.now(), text=SECRET_WORD)
    script = Script.objects.create(owner=owner, name=SECRET_WORD, claimed_name=SECRET_WORD)
    version = ScriptVersion.objects.create(
        script=script, number=1, sha256="a" * 64, size=1, files=[{"path": "main.py", "size": 1}], entrypoint="main.py"
    )
    pipeline = Pipeline.objects.create(
        owner=owner, name=SECRET_WORD, claimed_name=SECRET_WORD, workspace=workspace, description=SECRET_WORD
    )
    PipelineVersion.objects.create(pipeline=pipeline, number=1, source=SECRET_WORD, definition={"steps": []})
    run = Run.objects.create(owner=owner, workspace=workspace, script=script, name=SECRET_WORD, state="running")
    step = Step.objects.create(
        run=run,
        workspace=workspace,
        name=SECRET_WORD,
        version=version,
        state="running",
        outputs=[{"path": "a.txt", "size": 1, "content_type": "text/plain"}],
    )
    LogChunk.objects.create(step=step, execution=1, first=1, count=1, lines=[["out", 1.0, SECRET_WORD]])
    job = Job.objects.create(
        owner=owner, workspace=workspace, run=run, script=script, version=version, name=SECRET_WORD, definition={}
    )
    secret = Secret.objects.create(workspace=workspace, name="OF_ADA_ALONE", changed_at=timezone.now())
    told = Subscription.objects.create(owner=owner, name=SECRET_WORD, channel="email", address=owner.email)
    notice = Notice.objects.create(
        subscription=told, kind="failure", event="x", run=run, subject=SECRET_WORD, give_up_at=timezone.now()
    )
    schedule = schedule_create(
        owner=owner,
        name=SECRET_WORD,
        timing=Timing("cron", expression="* * * * *"),
        target=Target("stop", workspace=workspace.pk),
    )
    token, _ = api_token_add(owner=owner, name=SECRET_WORD)
    return {
        "account_id": linked.pk,
        "workspace_id": workspace.pk,
        "terraform_run_id": terraform_run.pk,
        "script_id": script.pk,
        "pipeline_id": pipeline.pk,
        "run_id": run.pk,
        "step_id": step.pk,
        "key_id": ssh_key_add(owner=owner, name=SECRET_WORD, public_key=KEY).pk,
        "token_id": str(token.pk),
        "notification_id": told.pk,
        "delivery_id": notice.pk,
        "schedule_id": schedule.pk,
        "path": "a.txt",
        "job_id": job.pk,
        "kind": "job.yaml",
        "secret_name": secret.name,
        "month": "1999-12",  # a month is nobody's: a statement is always of whoever asks
    }


def address_of(route: Route, belongings: dict[str, str]) -> str:
    text = route.text
    for name in route.arguments:
        key = "terraform_run_id" if name == "run_id" and "terraform-runs/" in text else name
        assert key in belongings, f"{route.text}: this test does not know what {name} is; say what an outsider may see"
        for kind in ("slug", "str", "path", "int", "uuid"):
            text = text.replace(f"<{kind}:{name}>", belongings[key])
    assert "<" not in text, f"{route.text}: cannot be addressed"
    return f"/{text}"


def own_routes() -> list[Route]:
    return [route for route in routes() if not route.text.startswith((*FOREIGN, "admin/"))]


def ways_in(person: User) -> tuple[Any, Any]:
    """For programs and for pages: one each, since a person has only so many tokens."""
    return api_of(person), browser_of(person)


def test_every_route_of_an_object_answers_404_to_an_outsider(outsider: User, belongings: dict[str, str]) -> None:
    walked = 0
    api, pages = ways_in(outsider)
    for route in own_routes():
        if not route.arguments:
            continue
        address = address_of(route, belongings)
        client = api if route.text.startswith("api/") else pages
        codes = {method: getattr(client, method)(address).status_code for method in METHODS}
        assert set(codes.values()) <= {404, 405}, f"{address}: {codes}"
        assert 404 in codes.values(), f"{address}: {codes}"
        walked += 1
    assert walked > 30
    assert Workspace.objects.get().state == "ready"
    assert Run.objects.get().cancel_requested_at is None
    assert Secret.objects.get().changed_by is None
    assert Schedule.objects.get().enabled
    assert CloudAccount.objects.get(owner__isnull=False).state == "linked"


def test_every_other_route_is_known_and_shows_nothing_of_others(outsider: User, belongings: dict[str, str]) -> None:
    api, pages = ways_in(outsider)
    for route in own_routes():
        if route.arguments:
            continue
        assert route.text in PUBLIC | PERSONAL, f"{route.text!r} is new: say here what an outsider may see"
        if route.text.endswith(STREAMS):
            continue
        client = api if route.text.startswith("api/") else pages
        answer = client.get(f"/{route.text}")
        assert answer.status_code in {200, 405}, f"{route.text}: {answer.status_code}"
        shown = answer.content.decode()
        assert SECRET_WORD not in shown, route.text
        assert not [value for value in belongings.values() if len(value) == 26 and value in shown], route.text


def test_nothing_personal_opens_without_logging_in(belongings: dict[str, str]) -> None:
    for route in own_routes():
        if route.text in PUBLIC:
            continue
        answer = Client().get(address_of(route, belongings))
        welcome = {200} if route.text == "" else set()
        assert answer.status_code in {302, 401, 404, 405} | welcome, f"{route.text}: {answer.status_code}"
        assert SECRET_WORD not in answer.content.decode()


def test_the_admin_is_closed_to_everybody_else(outsider: User) -> None:
    client = browser_of(outsider)
    for route in routes():
        if route.text.startswith("admin/") and not route.arguments and "jsi18n" not in route.text:
            answer = client.get(f"/{route.text}")
            assert answer.status_code in {302, 403, 404}, f"{route.text}: {answer.status_code}"
