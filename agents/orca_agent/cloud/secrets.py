"""AWS Secrets Manager, by its JSON protocol: the one call that reads a value."""

from __future__ import annotations

import json
from typing import Final, Mapping, Optional, Protocol

from agents.orca_agent.cloud.client import Client, custom_endpoint, dns_suffix
from agents.orca_agent.cloud.errors import CloudError, Missing

# So a secret that is being deleted is told; to whoever asks for it, it is not there.
DELETED: Final = "InvalidRequestException"


class Secrets(Protocol):
    """Where the workspace's secrets lie."""

    def get(self, name: str) -> str:
        """A secret's value. Raises `CloudError`, `Missing` if there is no such secret."""


class SecretsManager:
    """The secrets whose names begin with ``prefix``; they are asked for without it."""

    def __init__(self, prefix: str, client: Client, *, environment: Optional[Mapping[str, str]] = None) -> None:
        self._prefix = prefix
        self._client = client
        if environment is None:
            self._endpoint = custom_endpoint("secrets_manager")
        else:
            self._endpoint = custom_endpoint("secrets_manager", environment)

    def get(self, name: str) -> str:
        region = self._client.region
        endpoint = self._endpoint or f"https://secretsmanager.{region}.{dns_suffix(region)}"
        try:
            answer = self._client.call(
                "POST",
                endpoint + "/",
                {"content-type": "application/x-amz-json-1.1", "x-amz-target": "secretsmanager.GetSecretValue"},
                json.dumps({"SecretId": self._prefix + name}).encode(),
                timeout=20.0,
            )
        except CloudError as error:
            if error.code == DELETED:
                raise Missing(error.code, str(error), status=error.status) from error
            raise
        value = json.loads(answer.body).get("SecretString")
        if not isinstance(value, str):
            raise CloudError("BadAnswer", f"the secret {name} holds no text")
        return value
