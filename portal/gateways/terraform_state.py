"""What lies beside a workspace's state in S3: its lock, and the mark of an apply that is under way.

Terraform's S3 backend locks a state by making the object ``<state>.tflock`` under the condition that it is not there
yet, and writes into it who it is. A Terraform that was killed leaves it behind. The mark ``<state>.applying`` is
Orca's own: it is there from the start of an apply until its orderly end, so that a later run knows when it has to look
for things that were made but never got into the state.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from portal.gateways.terraform_errors import Diagnostic, LockHolder, TerraformError, error_from, moment_from

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

STATE_KEY = "workspace.tfstate"
WORKSPACE_PREFIX = "workspaces"
CONFIG = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard"})


class StateObjects:
    """The objects of one workspace's state in the bucket ``bucket``."""

    def __init__(self, bucket: str, workspace: str, *, environment: Mapping[str, str], region: str, path_style: bool):
        self.bucket = bucket
        self.key = f"{WORKSPACE_PREFIX}/{workspace}/{STATE_KEY}"
        self._environment = environment
        self._region = region
        self._path_style = path_style
        self._opened: S3Client | None = None

    def holder(self) -> LockHolder | None:
        """Who holds the lock; None when nobody does."""
        with translated("read the lock of Terraform's state"):
            body = self._read(f"{self.key}.tflock")
        return None if body is None else holder_from(body)

    def break_(self, lock_id: str) -> bool:
        """Remove the lock if it is still the one with ``lock_id``; whether it was there."""
        holder = self.holder()
        if holder is None or holder.lock_id != lock_id:
            return False
        with translated("remove the lock of Terraform's state"):
            self._client.delete_object(Bucket=self.bucket, Key=f"{self.key}.tflock")
        return True

    def mark(self) -> None:
        """Say that an apply is under way."""
        with translated("note the start of the apply"):
            self._client.put_object(Bucket=self.bucket, Key=f"{self.key}.applying", Body=b"")

    def unmark(self) -> None:
        """Say that the last apply came to an orderly end: whatever it made is in the state."""
        with translated("note the end of the apply"):
            self._client.delete_object(Bucket=self.bucket, Key=f"{self.key}.applying")

    def marked(self) -> bool:
        """Whether an apply was begun that did not come to an orderly end."""
        with translated("see how the last apply ended"):
            return self._read(f"{self.key}.applying") is not None

    def tainted(self) -> list[str]:
        """Addresses of what Terraform was in the middle of making when it was stopped, and would throw away."""
        with translated("read Terraform's state"):
            body = self._read(self.key)
        return [] if body is None else tainted_in(json.loads(body))

    def _read(self, key: str) -> bytes | None:
        try:
            return self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in {"NoSuchKey", "404"}:
                return None
            raise

    @property
    def _client(self) -> S3Client:
        if self._opened is None:
            style: Literal["path", "auto"] = "path" if self._path_style else "auto"
            config = CONFIG.merge(Config(s3={"addressing_style": style}))
            given = self._environment
            endpoint = given.get("AWS_ENDPOINT_URL_S3") or given.get("AWS_ENDPOINT_URL")
            self._opened = session_from(given, self._region).client("s3", endpoint_url=endpoint, config=config)
        return self._opened


def session_from(environment: Mapping[str, str], region: str) -> boto3.Session:
    """A session with the credentials that Terraform gets from the same ``environment``."""
    key = environment.get("AWS_ACCESS_KEY_ID")
    return boto3.Session(
        aws_access_key_id=key,
        aws_secret_access_key=environment.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=environment.get("AWS_SESSION_TOKEN"),
        profile_name=None if key else environment.get("AWS_PROFILE"),
        region_name=region,
    )


def tainted_in(state: Mapping[str, Any]) -> list[str]:
    """The addresses that a state (format 4) marks as tainted."""
    return [
        ".".join(filter(None, (resource.get("module"), resource["type"], resource["name"])))
        + (f"[{json.dumps(instance['index_key'])}]" if "index_key" in instance else "")
        for resource in state.get("resources", [])
        for instance in resource.get("instances", [])
        if instance.get("status") == "tainted"
    ]


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
def translated(doing: str) -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        found = error_from("state", [Diagnostic("error", f"could not {doing}", str(error))])
        if found.code == TerraformError.code:
            found.message = f"Orca could not {doing}."
        raise found from error
