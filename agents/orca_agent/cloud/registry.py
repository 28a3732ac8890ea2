"""Elastic Container Registry: the one call that gives a password for it."""

from __future__ import annotations

import base64
import json
import threading
import time
from typing import Callable, Final, Mapping, Optional, Tuple

from agents.orca_agent.cloud.client import Client, custom_endpoint, dns_suffix
from agents.orca_agent.cloud.errors import CloudError

TARGET: Final = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
RENEW_AFTER: Final = 6 * 3_600.0
"""Seconds; a password is good for twelve hours."""


class RegistryTokens:
    """User and password for the account's registry, asked for anew before they expire."""

    def __init__(
        self,
        client: Client,
        *,
        environment: Optional[Mapping[str, str]] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._endpoint = custom_endpoint("ecr") if environment is None else custom_endpoint("ecr", environment)
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Optional[Tuple[str, str]] = None
        self._since = 0.0

    def get(self) -> Tuple[str, str]:
        """Raises `CloudError`."""
        with self._lock:
            if self._known is None or self._clock() - self._since > RENEW_AFTER:
                self._known, self._since = self._ask(), self._clock()
            return self._known

    def forget(self) -> None:
        """The password was refused: ask for another."""
        with self._lock:
            self._known = None

    def _ask(self) -> Tuple[str, str]:
        region = self._client.region
        endpoint = self._endpoint or f"https://api.ecr.{region}.{dns_suffix(region)}"
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": TARGET}
        answer = self._client.call("POST", endpoint + "/", headers, b"{}", timeout=20.0)
        try:
            token = json.loads(answer.body)["authorizationData"][0]["authorizationToken"]
            user, _, password = base64.b64decode(token, validate=True).decode().partition(":")
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise CloudError("BadAnswer", "the registry gave no password") from error
        return user, password
