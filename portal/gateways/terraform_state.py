"""The state's lock in S3: who holds it, and how to break it.

Terraform's S3 backend locks a state by making the object ``<state>.tflock`` under the condition that it is not there
yet, and writes into it who it is. A Terraform that was killed leaves it behind.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from portal.gateways.terraform_errors import Diagnostic, LockHolder, TerraformError, error_from, moment_from

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

STATE_KEY = "workspace.tfstate"
WORKSPACE_PREFIX = "workspaces"


class StateLock:
    """The lock of one workspace's state, in the bucket ``bucket``."""

    def __init__(self, bucket: str, workspace: str, *, environment: Mapping[str, str], region: str, path_style: bool):
        self.bucket = bucket
        self.key = f"{WORKSPACE_PREFIX}/{workspace}/{STATE_KEY}.tflock"
        self._environment = environment
        self._region = region
        self._path_style = path_style
        self._opened: S3Client | None = None

    def holder(self) -> LockHolder | None:
        """Who holds the lock; None when nobody does."""
        with _translated("read the lock of Terraform's state"):
            try:
                body = self._client.get_object(Bucket=self.bucket, Key=self.key)["Body"].read()
            except ClientError as error:
                if _code(error) in {"NoSuchKey", "404"}:
                    return None
                raise
        return holder_from(body)

    def break_(self, lock_id: str) -> bool:
        """Remove the lock if it is still the one with ``lock_id``; whether it was there."""
        holder = self.holder()
        if holder is None or holder.lock_id != lock_id:
            return False
        with _translated("remove the lock of Terraform's state"):
            self._client.delete_object(Bucket=self.bucket, Key=self.key)
        return True

    @property
    def _client(self) -> S3Client:
        if self._opened is None:
            given = self._environment
            session = boto3.Session(
                aws_access_key_id=given.get("AWS_ACCESS_KEY_ID"),
                aws_secret_access_key=given.get("AWS_SECRET_ACCESS_KEY"),
                aws_session_token=given.get("AWS_SESSION_TOKEN"),
                profile_name=None if given.get("AWS_ACCESS_KEY_ID") else given.get("AWS_PROFILE"),
                region_name=self._region,
            )
            style: Literal["path", "auto"] = "path" if self._path_style else "auto"
            self._opened = session.client(
                "s3",
                endpoint_url=given.get("AWS_ENDPOINT_URL_S3") or given.get("AWS_ENDPOINT_URL"),
                config=Config(
                    connect_timeout=5, read_timeout=20, retries={"mode": "standard"}, s3={"addressing_style": style}
                ),
            )
        return self._opened


def holder_from(body: bytes) -> LockHolder:
    """The holder that a lock object names. One that cannot be read is still a lock, of nobody known."""
    try:
        found = json.loads(body)
    except ValueError:
        found = {}
    if not isinstance(found, dict):
        found = {}
    return LockHolder(
        lock_id=str(found.get("ID", "")),
        who=str(found.get("Who", "unknown")),
        operation=str(found.get("Operation", "unknown")).removeprefix("OperationType"),
        created=moment_from(str(found.get("Created", ""))),
    )


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        found = error_from(doing, [Diagnostic("error", f"could not {doing}", str(error))])
        raise _told(found, doing) from error


def _told(found: TerraformError, doing: str) -> TerraformError:
    found.message = f"{found.message.rstrip('.')} (trying to {doing})."
    return found


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
