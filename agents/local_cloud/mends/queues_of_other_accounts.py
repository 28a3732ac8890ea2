"""SQS: a QueueUrl means the queue of the account in it, whoever calls. moto looks in the caller's account only."""

from __future__ import annotations

from typing import Any

from moto.sqs.models import SQSBackend, sqs_backends
from moto.sqs.responses import SQSResponse

from agents.local_cloud.access.resources import queue_of
from agents.local_cloud.patching import replace


def apply() -> None:
    """Put the mend in place."""
    replace(SQSResponse, "sqs_backend", property(_backend))


def _backend(response: Any) -> SQSBackend:
    account = response.current_account
    parameters = getattr(response, "params", {})
    url = parameters.get("QueueUrl") if hasattr(parameters, "get") else None
    if url:
        account, _ = queue_of(url, account, response.region)
    elif owner := response._get_param("QueueOwnerAWSAccountId"):
        account = owner
    return sqs_backends[account][response.region]
