"""What an answer of AWS means: whose fault, and whether to try again."""

from __future__ import annotations

import pytest

from agents.orca_agent.cloud.client import backoff, read_error
from agents.orca_agent.cloud.errors import Missing
from agents.orca_agent.cloud.transport import Response

XML = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>so</Message></Error>"


@pytest.mark.parametrize(
    ("status", "body", "headers", "code", "missing", "retryable"),
    [
        (404, XML % b"NoSuchKey", {}, "NoSuchKey", True, False),
        (404, b"", {}, "NotFound", True, False),
        (404, b"<html>a proxy's page</html>", {}, "NotFound", True, False),
        (403, XML % b"AccessDenied", {}, "AccessDenied", False, False),
        (503, XML % b"SlowDown", {}, "SlowDown", False, True),
        (500, b"", {}, "Status500", False, True),
        (
            400,
            b'{"__type":"com.amazonaws.sqs#ReceiptHandleIsInvalid"}',
            {},
            "ReceiptHandleIsInvalid",
            False,
            False,
        ),
        (400, b'{"__type":"com.amazonaws.sqs#QueueDoesNotExist"}', {}, "QueueDoesNotExist", True, False),
        (
            400,
            b'{"__type":"x"}',
            {"x-amzn-query-error": "AWS.SimpleQueueService.NonExistentQueue;Sender"},
            "AWS.SimpleQueueService.NonExistentQueue",
            True,
            False,
        ),
        (400, b'{"__type":"ThrottlingException","message":"so"}', {}, "ThrottlingException", False, True),
        (400, b"{broken", {}, "Status400", False, False),
    ],
)
def test_answers_are_understood(
    status: int, body: bytes, headers: dict[str, str], code: str, missing: bool, retryable: bool
) -> None:
    error = read_error(Response(status, headers, body))
    assert (error.code, error.status, error.retryable) == (code, status, retryable)
    assert isinstance(error, Missing) is missing


def test_pauses_double_and_are_bounded() -> None:
    assert 0.05 <= backoff(1) <= 0.1
    assert 0.4 <= backoff(4) <= 0.8
    assert 2.5 <= backoff(10_000) <= 5.0
    assert backoff(50, longest=0.2) <= 0.2
