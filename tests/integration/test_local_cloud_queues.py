"""SQS of the local cloud, over HTTP: what moto alone gets wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.fixtures.cloud import Cloud, wait_until

pytest_plugins = ["tests.fixtures.cloud"]
pytestmark = pytest.mark.cloud


class Queue:
    """A queue and a client for it."""

    def __init__(self, cloud: Cloud, *, fifo: bool = True, **attributes: str) -> None:
        self.sqs = cloud.client("sqs")
        ending = ".fifo" if fifo else ""
        if fifo:
            attributes["FifoQueue"] = "true"
        made = self.sqs.create_queue(QueueName=f"queue-{uuid.uuid4().hex[:12]}{ending}", Attributes=attributes)
        self.url = made["QueueUrl"]

    def send(self, body: str, group: str = "g") -> dict[str, Any]:
        more = {"MessageGroupId": group, "MessageDeduplicationId": uuid.uuid4().hex} if "fifo" in self.url else {}
        sent: dict[str, Any] = self.sqs.send_message(QueueUrl=self.url, MessageBody=body, **more)
        return sent

    def receive(self, limit: int = 1, wait: int = 0, **more: Any) -> list[dict[str, Any]]:
        found: dict[str, Any] = self.sqs.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=limit, WaitTimeSeconds=wait, **more
        )
        return list(found.get("Messages", []))

    def delete(self, message: dict[str, Any]) -> None:
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def attribute(self, name: str) -> str:
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])["Attributes"]
        return str(found[name])


def cpu_seconds(pid: int) -> float:
    """What the process has used of the processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Poller(threading.Thread):
    """A long poll in the background."""

    def __init__(self, queue: Queue) -> None:
        super().__init__(daemon=True)
        self.queue = queue
        self.got: list[str] = []
        self.at = 0.0
        self.start()
        time.sleep(0.2)

    def run(self) -> None:
        self.got = [message["Body"] for message in self.queue.receive(wait=10)]
        self.at = time.monotonic()


def test_a_poll_on_a_busy_group_costs_nothing_and_gets_the_next_message_at_once(local_cloud: Cloud) -> None:
    queue = Queue(local_cloud)
    for body in ("1", "2"):
        queue.send(body)
    first = queue.receive()[0]
    poller = Poller(queue)
    before = cpu_seconds(local_cloud.pid)
    began = time.monotonic()
    other = Queue(local_cloud)
    other.send("meanwhile")
    assert time.monotonic() - began < 0.5
    time.sleep(1.0)
    assert cpu_seconds(local_cloud.pid) - before < 0.5
    queue.delete(first)
    deleted = time.monotonic()
    poller.join(5)
    assert poller.got == ["2"]
    assert poller.at - deleted < 0.3


def test_a_message_given_back_wakes_the_poller_at_once(local_cloud: Cloud) -> None:
    queue = Queue(local_cloud)
    queue.send("1")
    first = queue.receive()[0]
    poller = Poller(queue)
    queue.sqs.change_message_visibility(QueueUrl=queue.url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    given_back = time.monotonic()
    poller.join(5)
    assert poller.got == ["1"]
    assert poller.at - given_back < 0.3


def test_a_message_does_not_go_to_a_poller_that_was_killed(local_cloud: Cloud) -> None:
    queue = Queue(local_cloud)
    script = (
        "import boto3; sqs = boto3.client('sqs'); print('polling', flush=True);"
        f"sqs.receive_message(QueueUrl='{queue.url}', WaitTimeSeconds=20)"
    )
    poller = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, **local_cloud.environment()},
        stdout=subprocess.PIPE,
        text=True,
    )
    with poller:
        assert poller.stdout is not None
        poller.stdout.readline()
        time.sleep(0.3)
        poller.kill()
    queue.send("1")
    assert [one["Body"] for one in queue.receive(wait=2)] == ["1"]


def test_a_batch_answers_for_each_entry(local_cloud: Cloud) -> None:
    queue = Queue(local_cloud)
    for body in ("1", "2"):
        queue.send(body)
    messages = queue.receive(2)
    entries = [{"Id": str(i), "ReceiptHandle": one["ReceiptHandle"]} for i, one in enumerate(messages)]
    answer = queue.sqs.delete_message_batch(
        QueueUrl=queue.url, Entries=[*entries, {"Id": "junk", "ReceiptHandle": "junk"}]
    )
    assert [one["Id"] for one in answer["Successful"]] == ["0", "1"]
    assert [one["Id"] for one in answer["Failed"]] == ["junk"]


def test_dead_letters_arrive_whole_and_the_policy_comes_back_as_it_was_sent(local_cloud: Cloud) -> None:
    dead = Queue(local_cloud)
    redrive = json.dumps(
        {"deadLetterTargetArn": dead.attribute("QueueArn"), "maxReceiveCount": 1}, separators=(",", ":")
    )
    queue = Queue(local_cloud, RedrivePolicy=redrive, VisibilityTimeout="0")
    assert queue.attribute("RedrivePolicy") == redrive
    sent = queue.send("poison")
    assert queue.receive()
    wait_until(lambda: not queue.receive(), what="the burial")
    found = dead.receive(AttributeNames=["All"])[0]
    assert (found["Body"], found["MessageId"]) == ("poison", sent["MessageId"])
    assert found["Attributes"]["MessageGroupId"] == "g"


def test_changing_one_attribute_leaves_the_others_alone(local_cloud: Cloud) -> None:
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Resource": "*",
        "Condition": {"Null": {"x": "false"}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    queue = Queue(local_cloud, Policy=policy, VisibilityTimeout="77")
    queue.sqs.set_queue_attributes(QueueUrl=queue.url, Attributes={"MessageRetentionPeriod": "3600"})
    assert json.loads(queue.attribute("Policy")) == json.loads(policy)
    assert (queue.attribute("VisibilityTimeout"), queue.attribute("MessageRetentionPeriod")) == ("77", "3600")
    queue.sqs.set_queue_attributes(QueueUrl=queue.url, Attributes={"Policy": ""})
    with pytest.raises(KeyError):
        queue.attribute("Policy")


def test_sequence_numbers_grow_and_attributes_come_along(local_cloud: Cloud) -> None:
    queue = Queue(local_cloud)
    numbers = [int(queue.send(str(number))["SequenceNumber"]) for number in range(3)]
    assert numbers == sorted(set(numbers))
    found = queue.receive(AttributeNames=["All"])[0]["Attributes"]
    assert int(found["SequenceNumber"]) == numbers[0]
    assert found["ApproximateReceiveCount"] == "1"
    assert queue.attribute("ApproximateNumberOfMessages") == "2"
    assert queue.attribute("ApproximateNumberOfMessagesNotVisible") == "1"


def test_twelve_hours_count_from_the_receipt_not_from_the_send(local_cloud: Cloud) -> None:
    queue = Queue(local_cloud)
    queue.send("1")
    first = queue.receive()[0]
    change = {"QueueUrl": queue.url, "ReceiptHandle": first["ReceiptHandle"]}
    queue.sqs.change_message_visibility(**change, VisibilityTimeout=43190)
    queue.delete(first)
    with pytest.raises(ClientError) as refused:
        queue.sqs.change_message_visibility(**change, VisibilityTimeout=10)
    assert "InvalidParameterValue" in refused.value.response["Error"]["Code"]


def test_a_deep_queue_answers_as_quickly_as_a_shallow_one(local_cloud: Cloud) -> None:
    queue = Queue(local_cloud, fifo=False)

    def cost() -> float:
        began = time.perf_counter()
        for _ in range(20):
            queue.send("x")
            queue.delete(queue.receive()[0])
        return time.perf_counter() - began

    shallow = min(cost() for _ in range(3))
    batch = [{"Id": str(i), "MessageBody": "x"} for i in range(10)]
    for _ in range(100):
        queue.sqs.send_message_batch(QueueUrl=queue.url, Entries=batch)
    assert min(cost() for _ in range(3)) < shallow * 2.5
