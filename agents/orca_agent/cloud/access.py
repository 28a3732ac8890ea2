"""How the agent reaches AWS: whose keys, which region, which connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional

from agents.orca_agent.cloud.bucket import Links, S3Bucket
from agents.orca_agent.cloud.client import Client, CredentialsProvider
from agents.orca_agent.cloud.metadata import FixedCredentials, Metadata, RoleCredentials
from agents.orca_agent.cloud.queue import SqsQueue
from agents.orca_agent.cloud.registry import RegistryTokens
from agents.orca_agent.cloud.secrets import SecretsManager
from agents.orca_agent.cloud.transport import Transport


@dataclass(frozen=True)
class Cloud:
    """``polling`` is a transport of its own, so that a long poll can be broken off alone."""

    region: str
    bucket_name: str
    credentials: CredentialsProvider
    metadata: Optional[Metadata]
    transport: Transport
    polling: Transport

    @classmethod
    def of_environment(cls, region: str, bucket_name: str, environment: Mapping[str, str]) -> Cloud:
        """Keys that stand in the environment, else those of the instance's role."""
        fixed = FixedCredentials.of_environment(environment)
        if fixed is not None:
            return cls(region, bucket_name, fixed, None, Transport(), Transport())
        metadata = Metadata.of_environment(environment)
        return cls(region, bucket_name, RoleCredentials(metadata), metadata, Transport(), Transport())

    def bucket(self) -> S3Bucket:
        return S3Bucket(self.bucket_name, self._client("s3", self.transport))

    def links(self) -> Links:
        """For what is not in the workspace's bucket."""
        return Links(Client("s3", self.region, None, Transport(guarded=True)))

    def secrets(self, workspace: str) -> SecretsManager:
        return SecretsManager(f"orca/{workspace}/", self._client("secretsmanager", self.transport))

    def registry(self) -> RegistryTokens:
        return RegistryTokens(self._client("ecr", self.transport))

    def queue(self, queue: str, transport: Transport) -> SqsQueue:
        """``queue`` is a name or a URL."""
        return SqsQueue(queue, self._client("sqs", transport))

    def _client(self, service: str, transport: Transport) -> Client:
        return Client(service, self.region, self.credentials, transport)
