"""Messages: tasks to a workspace's queue, events from the platform's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portal.gateways.aws import Account, client, translated
from portal.gateways.aws_platform import dead_events_queue_url, events_queue_url

BATCH = 10
# Of all messages of a call together; SQS takes 262,144.
BATCH_BYTES = 250_000
LONG_POLL_SECONDS = 20

_urls: dict[tuple[Account, str], str] = {}


@dataclass(frozen=True)
class Outgoing:
    """A message for a FIFO queue. ``reference`` is the caller's own name for it."""

    reference: str
    body: str
    group: str
    deduplication: str


@dataclass(frozen=True)
class Incoming:
    """A message that was received: its body and the receipt that acknowledges it."""

    body: str
    receipt: str


def _url(account: Account, queue: str) -> str:
    if (account, queue) not in _urls:
        _urls[account, queue] = client("sqs", account).get_queue_url(QueueName=queue)["QueueUrl"]
    return _urls[account, queue]


def forget(account: Account, queue: str) -> None:
    """Forget the address of a queue that is gone."""
    _urls.pop((account, queue), None)


def send(account: Account, queue: str, messages: Sequence[Outgoing]) -> set[str]:
    """Send up to ten messages in one call; the references of those that were accepted."""
    with translated("hand work to the workspace's queue"):
        answer = client("sqs", account).send_message_batch(
            QueueUrl=_url(account, queue),
            Entries=[
                {
                    "Id": str(index),
                    "MessageBody": message.body,
                    "MessageGroupId": message.group,
                    "MessageDeduplicationId": message.deduplication,
                }
                for index, message in enumerate(messages)
            ],
        )
    return {messages[int(entry["Id"])].reference for entry in answer.get("Successful", [])}


def receive_dead(account: Account, queue: str) -> list[Incoming]:
    """Up to ten messages that SQS has given up on."""
    with translated("look into the dead-letter queue"):
        found = client("sqs", account).receive_message(
            QueueUrl=_url(account, queue), MaxNumberOfMessages=BATCH, WaitTimeSeconds=0
        )
    return [Incoming(m["Body"], m["ReceiptHandle"]) for m in found.get("Messages", [])]


def delete_dead(account: Account, queue: str, receipt: str) -> None:
    """Acknowledge one of them."""
    with translated("clear the dead-letter queue"):
        client("sqs", account).delete_message(QueueUrl=_url(account, queue), ReceiptHandle=receipt)


def receive_events(wait_seconds: int = LONG_POLL_SECONDS) -> list[Incoming]:
    """Up to ten event messages, waiting for the first."""
    with translated("hear from the instances"):
        found = client("sqs").receive_message(
            QueueUrl=events_queue_url(), MaxNumberOfMessages=BATCH, WaitTimeSeconds=wait_seconds
        )
    return [Incoming(m["Body"], m["ReceiptHandle"]) for m in found.get("Messages", [])]


def delete_events(messages: Sequence[Incoming]) -> None:
    """Acknowledge event messages that have been applied."""
    if not messages:
        return
    with translated("acknowledge what was heard"):
        client("sqs").delete_message_batch(
            QueueUrl=events_queue_url(),
            Entries=[{"Id": str(i), "ReceiptHandle": m.receipt} for i, m in enumerate(messages)],
        )


def events_set_aside() -> int:
    """About how many event messages lie in the dead-letter queue, because they could not be applied for long."""
    with translated("look for events that were set aside"):
        found = client("sqs").get_queue_attributes(
            QueueUrl=dead_events_queue_url(), AttributeNames=["ApproximateNumberOfMessages"]
        )
    return int(found["Attributes"]["ApproximateNumberOfMessages"])


def events_return(most: int) -> int:
    """Put up to ``most`` event messages that were set aside back into the events queue; how many."""
    sqs, dead, returned = client("sqs"), dead_events_queue_url(), 0
    with translated("bring back events that were set aside"):
        while returned < most:
            found = sqs.receive_message(QueueUrl=dead, MaxNumberOfMessages=BATCH, WaitTimeSeconds=0).get("Messages")
            if not found:
                break
            for message in found:  # one by one: each may be as large as a whole call
                sqs.send_message(QueueUrl=events_queue_url(), MessageBody=message["Body"])
                sqs.delete_message(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"])
            returned += len(found)
    return returned
