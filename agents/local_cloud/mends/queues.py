"""SQS: messages are kept by ``queues.messages`` in the place of moto's lists.

What is mended: a long poll on a FIFO queue with a group in flight neither spins nor misses the next message; a message
made visible wakes pollers at once; receiving and deleting are locked; costs do not grow with the queue's depth;
deduplication outlives deletion; receipts follow the documented rules; messages survive a restart.
"""

from __future__ import annotations

import copy
import json
import pickle
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moto.sqs.exceptions import (
    InvalidParameterValue,
    PurgeQueueInProgress,
    ReceiptHandleIsInvalid,
    SQSException,
)
from moto.sqs.models import Message, Queue, SQSBackend, _filter_message_attributes

from agents.local_cloud.access.enforcement import current
from agents.local_cloud.patching import replace
from agents.local_cloud.queues.messages import Messages
from agents.local_cloud.queues.model import Held, NotInFlight, StaleReceipt, Wanted
from agents.local_cloud.queues.receipts import Receipt
from agents.local_cloud.state.record_log import RecordLog

REWRITE_BYTES = 1 << 20


class QueueLogs:
    """Where the messages of each queue are written down: ``DATA/queues/<account>/<region>/<name>.log``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def log(self, queue: Any) -> RecordLog:
        """The log of one queue."""
        return RecordLog(self._folder / queue.account_id / queue.region / f"{queue.name}.log")


class Store:
    """The messages of one queue together with their log."""

    def __init__(self, queue: Any, log: RecordLog, *, fresh: bool) -> None:
        self.log = log
        self.messages = Messages(fifo=queue.fifo_queue, record=self._append)
        self._rewritten = 0
        if fresh:
            log.delete()
        else:
            self.messages.restore(pickle.loads(record) for record in log.read())  # noqa: S301 - our own file

    def _append(self, record: tuple[Any, ...]) -> None:
        # The order of the log is that of the messages' lock, which the caller holds.
        self.log.append(pickle.dumps(record, protocol=5))
        if self.log.size > max(REWRITE_BYTES, 4 * self._rewritten):
            self._rewritten = REWRITE_BYTES
            self.log.rewrite(pickle.dumps(one, protocol=5) for one in [*self.messages.snapshot(), record])
            self._rewritten = self.log.size


def apply(logs: QueueLogs) -> None:
    """Put the mend in place."""

    def held(queue: Any) -> Messages:
        store: Store | None = queue.__dict__.get("held")
        if store is None:
            store = queue.__dict__["held"] = Store(queue, logs.log(queue), fresh=False)
        return store.messages

    _apply_queue(held)
    _apply_sending(held)
    _apply_receiving(held)
    _apply_acknowledging(held)
    _apply_lifetime(logs)


def _apply_queue(held: Callable[[Any], Messages]) -> None:
    for index, name in enumerate(("", "_not_visible", "_delayed")):
        replace(Queue, f"approximate_number_of_messages{name}", property(_counter(held, index)))
    original = vars(Queue)["attributes"].fget

    def attributes(queue: Any) -> dict[str, Any]:
        found: dict[str, Any] = original(queue)
        if queue.redrive_policy:
            # Without white space, as AWS gives it back: else a second plan shows a change that is none.
            found["RedrivePolicy"] = json.dumps(queue.redrive_policy, separators=(",", ":"))
        return found

    set_attributes = Queue._set_attributes

    def keep_policy(queue: Any, attributes: dict[str, Any], now: float | None = None) -> None:
        kept = vars(queue).get("_policy_json")
        set_attributes(queue, attributes, now)
        if kept is not None and "Policy" not in attributes:
            # moto takes an attribute that is not named for one that is taken away.
            queue._policy_json = kept

    replace(Queue, "attributes", property(attributes))
    replace(Queue, "_set_attributes", keep_policy)


def _counter(held: Callable[[Any], Messages], index: int) -> Callable[[Any], int]:
    return lambda queue: held(queue).counts()[index]


def _apply_sending(held: Callable[[Any], Messages]) -> None:
    def add_message(queue: Any, message: Message) -> None:
        deduplication = message.deduplication_id or ""
        if deduplication and queue.deduplication_scope == "messageGroup":
            deduplication = f"{message.group_id}\0{deduplication}"
        sent_at = (message.sent_timestamp or 0) / 1000
        sent = held(queue).send(
            message.id,
            message,
            group=(message.group_id or "") if queue.fifo_queue else "",
            deduplication=deduplication if queue.fifo_queue else "",
            delay=max(0.0, message.delayed_until / 1000 - sent_at) if message.delayed_until else 0.0,
        )
        message.id = sent.message_id
        if queue.fifo_queue:
            message.sequence_number = _sequence_number(sent.order)
        _call_functions(queue)

    replace(Queue, "add_message", add_message)


def _sequence_number(order: int) -> str:
    """20 digits that grow, as AWS's do."""
    return str(10**19 + order)


def _call_functions(queue: Any) -> None:
    """Lambda functions that listen to the queue get what is in it, in batches."""
    if not queue.lambda_event_source_mappings:
        return
    from moto.awslambda.utils import get_backend
    from moto.sqs.models import sqs_backends

    backend: Any = sqs_backends[queue.account_id][queue.region]
    for arn, source in queue.lambda_event_source_mappings.items():
        if not source.enabled:
            continue
        batch = backend.receive_message(queue.name, source.batch_size, 0, queue.visibility_timeout)
        done = get_backend(queue.account_id, queue.region).send_sqs_batch(arn, batch, queue.queue_arn)
        for message in batch:
            if done:
                backend.delete_message(queue.name, message.receipt_handle)
            else:
                backend.change_message_visibility(queue.name, message.receipt_handle, 0)


def _apply_receiving(held: Callable[[Any], Messages]) -> None:
    # Named as moto's own, which is called by position and by name.
    def receive_message(
        backend: Any,
        queue_name: str,
        count: int,
        wait_seconds_timeout: int,
        visibility_timeout: int,
        *rest: list[str] | None,
        message_attribute_names: list[str] | None = None,
    ) -> list[Message]:
        queue = backend.get_queue(queue_name)
        wanted = rest[0] if rest else message_attribute_names
        target = queue.dead_letter_queue
        buries = target is not None and queue.redrive_policy

        def bury(one: Held) -> None:
            if target is not None:
                copied = copy.copy(one.content)
                held(target).send(one.message_id, copied, group=one.group if target.fifo_queue else "")

        asked = Wanted(
            limit=int(count),
            wait=float(wait_seconds_timeout or 0),
            visibility=float(visibility_timeout or 0),
            retention=float(queue.message_retention_period),
            maximum_receipts=queue.redrive_policy["maxReceiveCount"] if buries else None,
            bury=bury,
            connected=_connection_check(),
        )
        taken = held(queue).receive(asked)
        return [_delivery(one, receipt, wanted or []) for one, receipt in taken]

    replace(SQSBackend, "receive_message", receive_message)


def _delivery(one: Held, receipt: Receipt, attribute_names: list[str]) -> Message:
    message: Message = copy.copy(one.content)
    message.receipt_handle = receipt.handle
    message.approximate_receive_count = receipt.number
    message.approximate_first_receive_timestamp = int(one.first_received_at * 1000)
    if message.group_id is not None and message.deduplication_id is not None:
        message.sequence_number = _sequence_number(one.order)
    _filter_message_attributes(message, attribute_names)
    return message


def _connection_check() -> Callable[[], bool]:
    """Whether the client that polls is still there: a message must not go to one that was killed."""
    call = current()
    connection: socket.socket | None = call.connection if call else None
    if connection is None:
        return lambda: True
    found = connection

    def connected() -> bool:
        watch = select.poll()
        try:
            watch.register(found, select.POLLIN)
            return not watch.poll(0) or bool(found.recv(1, socket.MSG_PEEK))
        except (OSError, ValueError):
            return False

    return connected


def _apply_acknowledging(held: Callable[[Any], Messages]) -> None:
    def delete_message(queue: Any, receipt_handle: str) -> None:
        receipt = Receipt.parse(receipt_handle)
        if receipt is None:
            raise ReceiptHandleIsInvalid()
        try:
            held(queue).delete(receipt)
        except StaleReceipt:
            # A standard queue says yes and keeps the message; a FIFO queue says no (API reference of DeleteMessage).
            if queue.fifo_queue:
                raise InvalidParameterValue(
                    f"Value {receipt_handle} for parameter ReceiptHandle is invalid. "
                    "Reason: The receipt handle has expired."
                ) from None

    def change_message_visibility(backend: Any, queue_name: str, receipt_handle: str, visibility_timeout: int) -> None:
        receipt = Receipt.parse(receipt_handle)
        if receipt is None:
            raise ReceiptHandleIsInvalid()
        reason = "Message does not exist or is not available for visibility timeout change."
        try:
            held(backend.get_queue(queue_name)).change_visibility(receipt, float(visibility_timeout))
        except (NotInFlight, StaleReceipt):
            pass
        except ValueError:
            reason = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]."
        else:
            return
        raise InvalidParameterValue(f"Value {receipt_handle} for parameter ReceiptHandle is invalid. Reason: {reason}")

    def delete_message_batch(backend: Any, queue_name: str, receipts: list[Any]) -> Outcome:
        queue = backend.get_queue(queue_name)
        return _each(receipts, lambda entry: delete_message(queue, entry["ReceiptHandle"]))

    def change_message_visibility_batch(backend: Any, queue_name: str, entries: list[Any]) -> Outcome:
        return _each(
            entries,
            lambda entry: change_message_visibility(
                backend, queue_name, entry["ReceiptHandle"], entry["VisibilityTimeout"]
            ),
        )

    replace(Queue, "delete_message", delete_message)
    replace(SQSBackend, "change_message_visibility", change_message_visibility)
    replace(SQSBackend, "delete_message_batch", delete_message_batch)
    replace(SQSBackend, "change_message_visibility_batch", change_message_visibility_batch)


#: The ids that went well, and an error entry for each of the others.
Outcome = tuple[list[str], list[dict[str, Any]]]


def _each(entries: list[Any], act: Callable[[Any], None]) -> Outcome:
    """One entry of a batch failing is no reason for the others to."""
    done: list[str] = []
    failed: list[dict[str, Any]] = []
    for entry in entries:
        try:
            act(entry)
        except SQSException as error:
            failed.append({"Id": entry["Id"], "SenderFault": True, "Code": error.code, "Message": error.message})
        else:
            done.append(entry["Id"])
    return done, failed


def _apply_lifetime(logs: QueueLogs) -> None:
    create, delete = SQSBackend.create_queue, SQSBackend.delete_queue

    def create_queue(backend: Any, name: str, *args: Any, **options: Any) -> Any:
        known = name in backend.queues
        queue = create(backend, name, *args, **options)
        if not known:
            queue.__dict__["held"] = Store(queue, logs.log(queue), fresh=True)
        return queue

    def delete_queue(backend: Any, queue_name: str) -> None:
        queue = backend.get_queue(queue_name)
        delete(backend, queue_name)
        store: Store | None = queue.__dict__.get("held")
        if store is not None:
            store.messages.close()
            store.log.delete()

    def purge_queue(backend: Any, queue_name: str) -> None:
        queue = backend.get_queue(queue_name)
        if queue.last_purged_at is not None and time.time() - queue.last_purged_at < 60:
            raise PurgeQueueInProgress(queue.name)
        queue.last_purged_at = time.time()
        store: Store | None = queue.__dict__.get("held")
        if store is not None:
            store.messages.purge()

    replace(SQSBackend, "create_queue", create_queue)
    replace(SQSBackend, "delete_queue", delete_queue)
    replace(SQSBackend, "purge_queue", purge_queue)
