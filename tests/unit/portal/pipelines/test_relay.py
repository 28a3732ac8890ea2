"""What lies in the events queue is applied or put aside, and none of it holds up the rest."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from django.db import DataError, OperationalError

from agents.orca_agent import protocol
from portal.clouds.models import CloudAccount
from portal.core.errors import CloudFault
from portal.core.ids import new_id
from portal.gateways import aws_queue
from portal.gateways.aws_platform import events_queue_url
from portal.pipelines import relay as relay_module
from portal.pipelines.models import LogChunk, Outbox, Run, State, Step
from portal.pipelines.relay import Relay
from portal.pipelines.reports import Signers, envelopes_apply
from portal.workspaces.control import signing_key
from portal.workspaces.models import Instance, Workspace
from tests.people import person
from tests.unit.portal.pipelines.conftest import INSTANCE, Agent, only_step, ready_workspace

Press = Callable[..., Run]


class Queue:
    """The events queue. What is not acknowledged comes again at once."""

    def __init__(self) -> None:
        self.sqs: Any = boto3.client("sqs")
        self.url = events_queue_url()
        self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"VisibilityTimeout": "0"})

    def put(self, *bodies: str) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def depth(self) -> int:
        name = "ApproximateNumberOfMessages"
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=[name])
        return int(found["Attributes"][name])


@pytest.fixture
def queue(cloud_account: CloudAccount) -> Queue:
    return Queue()


@pytest.fixture
def relay(django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """One turn of the relay, with what its commits lead to."""
    made = Relay(threading.Event())
    monkeypatch.setattr(relay_module, "close_old_connections", lambda: None)  # the test's own transaction lives in it

    def turn() -> int:
        with django_capture_on_commit_callbacks(execute=True):
            return made.turn(wait_seconds=0)

    return turn


def signed(workspace: Workspace, *events: protocol.Event, key: bytes = b"", instance: str = INSTANCE) -> str:
    return protocol.sign_envelope(workspace.pk, instance, events, key or signing_key(workspace), sent_at=time.time())


def state_of(step: Step) -> str:
    return Step.objects.get(pk=step.pk).state


def test_messages_that_are_not_to_be_believed_go_and_the_others_count(
    run_started: Press, workspace: Workspace, agent: Agent, cloud_account: CloudAccount, queue: Queue, relay: Any
) -> None:
    forged, foreign, good = (only_step(run_started()) for _ in range(3))
    eve = ready_workspace(person("eve@example.org"), cloud_account)
    renamed = json.loads(signed(eve, agent.finished(foreign)))
    tampered = signed(workspace, agent.finished(forged, "failed")).replace("failed", "succeeded")
    queue.put(
        "{",
        "null",
        json.dumps({**renamed, "workspace": workspace.pk}),
        json.dumps({**renamed, "workspace": new_id()}),
        tampered,
        signed(workspace, agent.finished(forged), key=b"x" * 32),
        signed(eve, agent.finished(foreign), agent.log(foreign, 1, "mine now"), agent.started(foreign)),
        signed(workspace, agent.started(good), agent.log(good, 1, "hello"), agent.finished(good)),
    )
    assert relay() == 8
    assert queue.depth() == 0
    assert [state_of(step) for step in (forged, foreign, good)] == [State.QUEUED, State.QUEUED, State.SUCCEEDED]
    assert list(LogChunk.objects.values_list("step_id", flat=True)) == [good.pk]


def test_messages_in_any_order_and_more_than_once_end_as_they_should(
    run_started: Press, workspace: Workspace, agent: Agent, queue: Queue, relay: Any
) -> None:
    step = only_step(run_started())
    first = signed(workspace, agent.started(step), agent.log(step, 1, "a", "b"))
    second = signed(workspace, agent.log(step, 3, "c"), agent.finished(step, "failed", exit_code=3))
    for bodies in ([second, second], [first], [first, second], [signed(workspace, agent.finished(step))]):
        queue.put(*bodies)
        relay()
    step.refresh_from_db()
    assert (step.state, step.exit_code, step.log_lines) == (State.FAILED, 3, 3)
    kept = LogChunk.objects.order_by("first").values_list("first", "count")
    assert list(kept) == [(1, 2), (3, 1)]
    assert queue.depth() == 0


def test_the_database_that_is_busy_loses_nothing(
    run_started: Press, workspace: Workspace, agent: Agent, queue: Queue, relay: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = only_step(run_started())
    queue.put(signed(workspace, agent.finished(step)))

    def busy(**_: Any) -> int:
        raise OperationalError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(relay_module, "envelopes_apply", busy)
        with pytest.raises(OperationalError):
            relay()
    assert (queue.depth(), state_of(step)) == (1, State.QUEUED)
    assert relay() == 1
    assert (queue.depth(), state_of(step)) == (0, State.SUCCEEDED)


def test_one_message_that_cannot_be_applied_waits_and_the_others_do_not(
    run_started: Press, workspace: Workspace, agent: Agent, queue: Queue, relay: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned, good = only_step(run_started()), only_step(run_started())

    def refusing(*, envelopes: Any, signers: Signers) -> int:
        if any(event.step == poisoned.pk for envelope in envelopes for event in envelope.events):
            raise DataError("out of range")
        return envelopes_apply(envelopes=envelopes, signers=signers)

    queue.put(signed(workspace, agent.finished(poisoned)), signed(workspace, agent.finished(good)))
    with monkeypatch.context() as patch:
        patch.setattr(relay_module, "envelopes_apply", refusing)
        assert relay() == 1
    assert (queue.depth(), state_of(poisoned), state_of(good)) == (1, State.QUEUED, State.SUCCEEDED)
    assert relay() == 1
    assert state_of(poisoned) == State.SUCCEEDED


@pytest.mark.parametrize("at", [0.0, 1e11, 1e12])
def test_a_clock_that_is_wrong_stops_nothing(
    run_started: Press, workspace: Workspace, agent: Agent, queue: Queue, relay: Any, at: float
) -> None:
    step = only_step(run_started())
    beat = protocol.InstanceHeartbeat(**{**vars(agent.heartbeat(step)), "at": at})
    started = protocol.StepStarted(**{**vars(agent.started(step)), "at": at})
    ended = protocol.StepFinished(**{**vars(agent.finished(step)), "at": at, "started_at": at, "finished_at": at})
    queue.put(signed(workspace, beat, started, ended))
    assert relay() == 1
    step.refresh_from_db()
    assert step.state == State.SUCCEEDED
    assert step.finished_at is not None
    assert step.finished_at.timestamp() <= time.time()
    heard = Instance.objects.get(instance_id=INSTANCE).heartbeat_at
    assert heard is not None
    assert heard.timestamp() <= time.time()


def test_a_queue_that_is_gone_is_waited_for(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    stopping = threading.Event()
    made = Relay(stopping)
    pauses: list[float] = []

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        if len(pauses) == 3:
            stopping.set()
        return stopping.is_set()

    def gone(wait_seconds: int) -> Any:
        raise CloudFault("The queue does not answer.", retryable=True)

    monkeypatch.setattr(stopping, "wait", wait)
    monkeypatch.setattr(aws_queue, "receive_events", gone)
    monkeypatch.setattr(relay_module, "close_old_connections", lambda: None)
    made.run()
    assert pauses == sorted(pauses)
    assert pauses[-1] > pauses[0]


def test_tasks_that_could_not_be_sent_go_when_the_cloud_answers_again(
    queue: Queue, run_started: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = threading.Event()
    made = Relay(stopping)
    run_started()
    Outbox.objects.update(sent_at=None, claimed_until=None)
    receive, turns = aws_queue.receive_events, iter([False, True, True])

    def receive_now_and_then(wait_seconds: int) -> list[aws_queue.Incoming]:
        if next(turns):
            return receive(0)
        raise CloudFault("It does not answer.", retryable=True)

    sent: list[bool] = []

    def wait(seconds: float) -> bool:
        sent.append(Outbox.objects.get().sent_at is not None)
        return False

    monkeypatch.setattr(stopping, "wait", wait)
    monkeypatch.setattr(aws_queue, "receive_events", receive_now_and_then)
    monkeypatch.setattr(relay_module, "close_old_connections", lambda: None)
    with pytest.raises(StopIteration):
        made.run()
    assert sent == [False]
    assert Outbox.objects.get().sent_at is not None
