"""Signed calls of one AWS service, tried again where that can help."""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import re
import time
from typing import Callable, Dict, Final, Mapping, Optional, Protocol
from urllib.parse import urlsplit

from agents.orca_agent.cloud.errors import CloudError, Missing
from agents.orca_agent.cloud.signing import Credentials, signed_headers
from agents.orca_agent.cloud.transport import (
    BLOCK,
    MAX_BODY,
    Aborted,
    Body,
    FileSlice,
    Response,
    Target,
    Transport,
)

ATTEMPTS: Final = 8
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 5.0
EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId"})
MISSING: Final = frozenset(
    {
        "NoSuchKey",
        "NoSuchBucket",
        "NotFound",
        "QueueDoesNotExist",
        "AWS.SimpleQueueService.NonExistentQueue",
        "ResourceNotFoundException",
    }
)
THROTTLED: Final = re.compile("Throttl|SlowDown|TooManyRequests|RequestLimitExceeded|RequestTimeout$")
DNS_SUFFIXES: Final = {
    "cn-": "amazonaws.com.cn",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
    "eusc-": "amazonaws.eu",
}


class CredentialsProvider(Protocol):
    """Where keys come from. ``get(renew=True)`` does not give those again that AWS has refused."""

    def get(self, *, renew: bool = False) -> Credentials: ...


def custom_endpoint(service: str, environment: Mapping[str, str] = os.environ) -> str:
    """The address that ``AWS_ENDPOINT_URL_<SERVICE>`` or ``AWS_ENDPOINT_URL`` gives, or ""."""
    address = environment.get(f"AWS_ENDPOINT_URL_{service.upper()}") or environment.get("AWS_ENDPOINT_URL")
    return (address or "").rstrip("/")


def dns_suffix(region: str) -> str:
    """The domain of a region's partition."""
    for prefix, suffix in DNS_SUFFIXES.items():
        if region.startswith(prefix):
            return suffix
    return "amazonaws.com"


def body_sha256(body: Body) -> str:
    digest = hashlib.sha256()
    if isinstance(body, FileSlice):
        body.rewind()
        while True:
            block = body.read(BLOCK)
            if not block:
                break
            digest.update(block)
    elif body:
        digest.update(body)
    return digest.hexdigest()


class Client:
    """Calls of ``service`` in ``region``; unsigned where ``credentials`` is None. Errors are `CloudError`."""

    def __init__(
        self,
        service: str,
        region: str,
        credentials: Optional[CredentialsProvider],
        transport: Transport,
        *,
        pause: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.service = service
        self.region = region
        self._credentials = credentials
        self._transport = transport
        self._pause = pause
        self._clock = clock

    def call(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body = None,
        *,
        region: str = "",
        timeout: float = 60.0,
        into: Optional[Target] = None,
        limit: int = MAX_BODY,
        attempts: int = ATTEMPTS,
    ) -> Response:
        """The answer, of a status below 400; 304 counts as one. ``region`` if it is not the client's own."""
        if method != "GET":
            headers = {**headers, "content-length": str(_length(body))}
        refused = False
        for attempt in range(1, attempts + 1):
            try:
                signed = self._signed(method, url, headers, body, region or self.region, renew=refused)
                return self._send(method, url, signed, body, timeout=timeout, into=into, limit=limit)
            except CloudError as error:
                refused = self._credentials is not None and error.code in EXPIRED
                if attempt == attempts or not (error.retryable or refused):
                    raise
            self._pause(backoff(attempt))
        raise CloudError("Unreachable", "no attempt was allowed")

    def _signed(
        self, method: str, url: str, headers: Mapping[str, str], body: Body, region: str, *, renew: bool
    ) -> Mapping[str, str]:
        if self._credentials is None:
            return headers
        payload_sha256 = body_sha256(body)
        credentials = self._credentials.get(renew=renew)
        return signed_headers(
            method,
            url,
            headers,
            payload_sha256,
            credentials,
            region=region,
            service=self.service,
            now=self._clock(),
        )

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body,
        *,
        timeout: float,
        into: Optional[Target],
        limit: int,
    ) -> Response:
        try:
            response = self._transport.request(method, url, headers, body, timeout=timeout, into=into, limit=limit)
        except Aborted as error:
            raise CloudError("Aborted", str(error)) from error
        except (OSError, http.client.HTTPException) as error:
            place = urlsplit(url).netloc
            raise CloudError("Unreachable", f"{place}: {error!r}", retryable=True) from error
        if response.status >= 400:
            raise read_error(response)
        return response


def backoff(attempt: int, longest: float = LONGEST_PAUSE) -> float:
    """Seconds to wait after the given number of failures: doubling, with jitter."""
    top = min(longest, FIRST_PAUSE * 2.0 ** min(attempt, 30))
    return random.uniform(top / 2, top)  # noqa: S311 (jitter, not a secret)


def _length(body: Body) -> int:
    if body is None:
        return 0
    return body.length if isinstance(body, FileSlice) else len(body)


def read_error(response: Response) -> CloudError:
    """The error in an answer, be it S3's XML, the JSON of SQS, or nothing but a status."""
    text = response.body.decode("utf-8", "replace")
    code = _tag(text, "Code") or _json_text(text, "__type").rpartition("#")[2]
    code = response.headers.get("x-amzn-query-error", "").partition(";")[0] or code
    if not code:
        code = "NotFound" if response.status == 404 else f"Status{response.status}"
    message = _tag(text, "Message") or _json_text(text, "message") or _json_text(text, "Message")
    status = response.status
    if code in MISSING or (status == 404 and code == "NotFound"):
        return Missing(code, message, status=status)
    retryable = status >= 500 or status == 429 or bool(THROTTLED.search(code))
    asked = response.headers.get("retry-after", "")
    retry_after = float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 0.0
    return CloudError(code, message, status=status, retryable=retryable, retry_after=retry_after)


def _tag(text: str, name: str) -> str:
    found = re.search(f"<{name}>([^<]*)</{name}>", text)
    return found.group(1) if found else ""


def _json_text(text: str, name: str) -> str:
    found: Optional[Dict[str, object]] = None
    if text.startswith("{"):
        import json

        try:
            found = json.loads(text)
        except ValueError:
            return ""
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""
