"""SQS queues, by its JSON protocol."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Dict, Final, List, Mapping, Optional, Protocol
from urllib.parse import urlsplit

from agents.orca_agent.cloud.client import Client, custom_endpoint, dns_suffix

LONGEST_WAIT: Final = 20
REGION_OF_HOST: Final = re.compile(r"sqs\.([a-z0-9-]+)\.[a-z0-9.-]+")


@dataclass(frozen=True)
class Message:
    """A message that was received. ``receives`` counts how often it was; ``receipt`` names this time."""

    id: str
    receipt: str
    body: str
    receives: int = 1


class Queue(Protocol):
    """What the agent needs of a queue. Every call may raise `CloudError`, `Missing` if there is no queue."""

    def receive(self, limit: int, *, wait: int, visibility: int) -> List[Message]:
        """Up to ``limit`` messages (at most 10); waits for the first up to ``wait`` seconds."""

    def set_visibility(self, receipt: str, seconds: int) -> None:
        """Keep a message hidden for ``seconds`` from now; 0 hands it back."""

    def delete(self, receipt: str) -> None: ...

    def send(self, body: str) -> None: ...


class SqsQueue:
    """A queue by its URL, or by its name within the account."""

    def __init__(self, queue: str, client: Client, *, environment: Optional[Mapping[str, str]] = None) -> None:
        self._name = queue
        self._url = queue if "://" in queue else ""
        self._client = client
        if environment is None:
            self._endpoint = custom_endpoint("sqs")
        else:
            self._endpoint = custom_endpoint("sqs", environment)

    @property
    def url(self) -> str:
        if not self._url:
            self._url = str(self._call("GetQueueUrl", {"QueueName": self._name})["QueueUrl"])
        return self._url

    def receive(self, limit: int, *, wait: int, visibility: int) -> List[Message]:
        arguments = {
            "QueueUrl": self.url,
            "MaxNumberOfMessages": min(10, limit),
            "WaitTimeSeconds": wait,
            "VisibilityTimeout": visibility,
            "AttributeNames": ["ApproximateReceiveCount"],
        }
        answer = self._call("ReceiveMessage", arguments, timeout=wait + 20.0, attempts=1)
        return [
            Message(
                found["MessageId"],
                found["ReceiptHandle"],
                found["Body"],
                int(found.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
            )
            for found in answer.get("Messages") or []
        ]

    def set_visibility(self, receipt: str, seconds: int) -> None:
        arguments = {"QueueUrl": self.url, "ReceiptHandle": receipt, "VisibilityTimeout": seconds}
        self._call("ChangeMessageVisibility", arguments)

    def delete(self, receipt: str) -> None:
        self._call("DeleteMessage", {"QueueUrl": self.url, "ReceiptHandle": receipt})

    def send(self, body: str) -> None:
        self._call("SendMessage", {"QueueUrl": self.url, "MessageBody": body})

    def _call(
        self, action: str, arguments: Mapping[str, Any], *, timeout: float = 20.0, attempts: int = 4
    ) -> Dict[str, Any]:
        region = self._region()
        endpoint = self._endpoint or f"https://sqs.{region}.{dns_suffix(region)}"
        answer = self._client.call(
            "POST",
            endpoint + "/",
            {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"AmazonSQS.{action}"},
            json.dumps(arguments, ensure_ascii=False).encode(),
            region=region,
            timeout=timeout,
            attempts=attempts,
        )
        return dict(json.loads(answer.body)) if answer.body else {}

    def _region(self) -> str:
        """The region in the queue's URL: the events queue may live in another one than the instance."""
        found = REGION_OF_HOST.fullmatch(urlsplit(self._url).netloc)
        return found.group(1) if found else self._client.region
