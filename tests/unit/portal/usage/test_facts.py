"""Spans follow what EC2 says of instances."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from django.utils import timezone

from portal.gateways.aws_compute import Machine, ended_at
from portal.pipelines.models import Run
from portal.usage.facts import account_observed, facts_observe
from portal.usage.models import Span, UsageRecord
from portal.workspaces.models import Instance, Workspace
from tests.unit.portal.pipelines.conftest import INSTANCE
from tests.unit.portal.usage.statement_made import used

MINUTE = timedelta(minutes=1)


def seen(workspace: Workspace, state: str, launched: datetime, *, at: datetime, ended: datetime | None = None) -> None:
    machine = Machine(INSTANCE, state, "t3.large", "", "", launched, ended, workspace.pk)
    account_observed(account=workspace.cloud_account, machines=[machine], at=at)


def spans(kind: str) -> list[tuple[datetime, datetime | None]]:
    return list(Span.objects.filter(kind=kind).order_by("began_at").values_list("began_at", "ended_at"))


@pytest.fixture
def now() -> datetime:
    return timezone.now()


def test_from_launch_to_stop_and_again(workspace: Workspace, now: datetime) -> None:
    first, stopped, second, gone = (now - minutes * MINUTE for minutes in (60, 40, 30, 10))
    seen(workspace, "running", first, at=first + MINUTE)
    seen(workspace, "stopped", first, at=stopped + MINUTE, ended=stopped)
    seen(workspace, "pending", second, at=second)
    seen(workspace, "terminated", second, at=gone + MINUTE, ended=gone)
    assert spans("instance") == [(first, stopped), (second, gone)]
    assert spans("volume") == [(first, gone)]
    assert set(Span.objects.values_list("size", "region", "owner")) == {
        ("t3.large", "eu-central-1", workspace.owner_id)
    }


def test_a_start_that_nobody_saw_ends_the_span_before(workspace: Workspace, now: datetime) -> None:
    first, second = now - 60 * MINUTE, now - 20 * MINUTE
    seen(workspace, "running", first, at=first)
    Instance.objects.update(heartbeat_at=now - 30 * MINUTE)
    seen(workspace, "running", second, at=now)
    assert spans("instance") == [(first, second - 10 * MINUTE), (second, None)]


def test_what_was_over_when_it_was_first_seen_counts(workspace: Workspace, now: datetime) -> None:
    seen(workspace, "terminated", now - 9 * MINUTE, at=now, ended=now - 2 * MINUTE)
    assert spans("instance") == spans("volume") == [(now - 9 * MINUTE, now - 2 * MINUTE)]


def test_what_ec2_no_longer_knows_ended_when_it_was_last_heard_of(workspace: Workspace, now: datetime) -> None:
    seen(workspace, "running", now - 60 * MINUTE, at=now - 50 * MINUTE)
    Instance.objects.update(heartbeat_at=now - 45 * MINUTE)
    account_observed(account=workspace.cloud_account, machines=[], at=now)
    assert spans("instance") == [(now - 60 * MINUTE, now - 45 * MINUTE)]


def test_one_that_switched_itself_off_a_moment_ago_ended_now(workspace: Workspace, now: datetime) -> None:
    seen(workspace, "running", now - 60 * MINUTE, at=now - MINUTE)
    seen(workspace, "stopping", now - 60 * MINUTE, at=now)
    assert spans("instance") == [(now - 60 * MINUTE, now)]
    assert spans("volume") == [(now - 60 * MINUTE, None)]


def test_the_first_word_and_who_waited_for_it(workspace: Workspace, now: datetime) -> None:
    launched, ready = now - 10 * MINUTE, now - 9 * MINUTE
    hand = Run.objects.create(owner=workspace.owner, workspace=workspace, name="by hand")
    job = Run.objects.create(owner=workspace.owner, workspace=workspace, name="job", at_once=4)
    Run.objects.update(created_at=launched - MINUTE)
    Instance.objects.update(registered_at=launched - MINUTE)
    seen(workspace, "running", launched, at=launched)
    assert Span.objects.filter(ready_at=None).count() == 2
    Instance.objects.update(registered_at=ready)
    seen(workspace, "running", launched, at=now)
    span = Span.objects.get(kind="instance")
    assert (span.ready_at, span.run) == (ready, job)
    assert hand != job


def test_an_agent_that_was_started_again_was_ready_before_its_first_step(workspace: Workspace, now: datetime) -> None:
    """As where Orca was stopped before it had looked at an instance that was working already."""
    launched, began = now - 10 * MINUTE, now - 9 * MINUTE
    Instance.objects.update(registered_at=now - MINUTE)
    for at in (launched - MINUTE, began, now - 5 * MINUTE):
        record = used(workspace, "compute", 1)
        UsageRecord.objects.filter(pk=record.pk).update(instance_id=INSTANCE, began_at=at)
    seen(workspace, "running", launched, at=now)
    assert Span.objects.get(kind="instance").ready_at == began


def test_when_ec2_says_that_it_ended() -> None:
    at = datetime(2026, 11, 21, 20, 0, 7, tzinfo=UTC)
    assert ended_at("User initiated (2026-11-21 20:00:07 GMT)") == at
    assert ended_at("User initiated (2026-11-21 20:00:07 UTC)") == at
    assert ended_at("Client.InstanceInitiatedShutdown: Instance initiated shutdown") is None


def test_what_ec2_itself_says(workspace: Workspace) -> None:
    ec2 = boto3.client("ec2")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    tags: Any = [{"ResourceType": "instance", "Tags": [{"Key": "orca:workspace", "Value": workspace.pk}]}]
    made = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, InstanceType="t3.large", TagSpecifications=tags)
    ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, InstanceType="t3.large")  # somebody else's
    assert facts_observe() == 1
    span = Span.objects.get(kind="instance")
    assert (span.instance_id, span.size, span.ended_at) == (made["Instances"][0]["InstanceId"], "t3.large", None)
    ec2.terminate_instances(InstanceIds=[span.instance_id])
    facts_observe()
    assert Span.objects.filter(ended_at=None).count() == 0


def test_a_workspace_that_is_gone_is_looked_at_until_its_spans_have_ended(workspace: Workspace, now: datetime) -> None:
    seen(workspace, "running", now, at=now)
    Workspace.objects.update(state="destroyed")
    assert facts_observe() == 1
    assert Span.objects.filter(ended_at=None).count() == 0
    assert facts_observe() == 0
