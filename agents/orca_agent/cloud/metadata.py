"""The instance's metadata service (IMDSv2): who this instance is, and the credentials of its role.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
"""

from __future__ import annotations

import calendar
import http.client
import json
import os
import threading
import time
from typing import Callable, Final, Mapping, Optional, Tuple

from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.cloud.signing import Credentials
from agents.orca_agent.cloud.transport import Transport

DEFAULT_ENDPOINT: Final = "http://169.254.169.254"
TOKEN_SECONDS: Final = 21_600
RENEW_BEFORE: Final = 600.0
TIMEOUT: Final = 5.0


class Metadata:
    """Reads of the metadata service at ``endpoint``, which may carry a path. Errors are `CloudError`."""

    def __init__(self, endpoint: str, transport: Transport, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._base = endpoint.rstrip("/")
        self._transport = transport
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._token_until = 0.0

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Metadata:
        endpoint = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or DEFAULT_ENDPOINT
        return cls(endpoint, Transport(use_proxies=False))

    def read(self, path: str) -> str:
        """What stands at ``/latest/<path>``."""
        for renew in (False, True):
            headers = {"x-aws-ec2-metadata-token": self._get_token(renew=renew)}
            status, body = self._request("GET", f"/latest/{path}", headers)
            if status == 200:
                return body
            if status != 401:
                break
        raise CloudError("Metadata", f"{path}: status {status}", status=status, retryable=status >= 404)

    def read_or_empty(self, path: str) -> str:
        """Like `read`, but "" for what is not there."""
        try:
            return self.read(path)
        except CloudError as error:
            if error.status == 404:
                return ""
            raise

    def _get_token(self, *, renew: bool) -> str:
        with self._lock:
            if renew or self._clock() >= self._token_until:
                headers = {"x-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS), "content-length": "0"}
                status, body = self._request("PUT", "/latest/api/token", headers)
                if status != 200:
                    raise CloudError("Metadata", f"token: status {status}", status=status, retryable=True)
                self._token, self._token_until = body, self._clock() + TOKEN_SECONDS - 60
            return self._token

    def _request(self, method: str, path: str, headers: Mapping[str, str]) -> Tuple[int, str]:
        try:
            answer = self._transport.request(method, self._base + path, headers, timeout=TIMEOUT)
        except (OSError, http.client.HTTPException) as error:
            raise CloudError("Metadata", f"{path}: {error!r}", retryable=True) from error
        return answer.status, answer.body.decode("utf-8", "replace").strip()


class RoleCredentials:
    """The credentials of the instance's role, renewed in time."""

    def __init__(self, metadata: Metadata, *, clock: Callable[[], float] = time.time) -> None:
        self._metadata = metadata
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Optional[Credentials] = None
        self._fetched = 0.0

    def get(self, *, renew: bool = False) -> Credentials:
        """Raises `CloudError` while the instance has no role yet."""
        with self._lock:
            known, now = self._known, self._clock()
            if known is None:
                return self._fetch(now)
            expires = known.expires or 0.0
            refused = renew and now - self._fetched > 1.0
            if refused or (now > expires - RENEW_BEFORE and now - self._fetched > 30.0) or now >= expires:
                try:
                    return self._fetch(now)
                except CloudError:
                    if now >= expires:
                        raise
            return known

    def _fetch(self, now: float) -> Credentials:
        base = "meta-data/iam/security-credentials/"
        role = self._metadata.read(base).split("\n")[0].strip()
        try:
            found = json.loads(self._metadata.read(base + role))
            credentials = Credentials(
                found["AccessKeyId"],
                found["SecretAccessKey"],
                found["Token"],
                float(calendar.timegm(time.strptime(found["Expiration"][:19], "%Y-%m-%dT%H:%M:%S"))),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CloudError("Metadata", "the role has no credentials yet", retryable=True) from error
        self._known, self._fetched = credentials, now
        return credentials


class FixedCredentials:
    """Keys that were given, as by the usual environment variables."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Optional[FixedCredentials]:
        access_key = environment.get("AWS_ACCESS_KEY_ID")
        secret_key = environment.get("AWS_SECRET_ACCESS_KEY")
        if not access_key or not secret_key:
            return None
        return cls(Credentials(access_key, secret_key, environment.get("AWS_SESSION_TOKEN") or None))

    def get(self, *, renew: bool = False) -> Credentials:
        return self._credentials
