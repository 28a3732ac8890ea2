"""Sessions with AWS, and the translation of its errors into ours.

Orca's own credentials come from the environment, as boto3 finds them. Everything inside a workspace is done with the
role of the cloud account that the workspace lives in, assumed with its ExternalId in short sessions.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

import boto3
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    EndpointConnectionError,
    HTTPClientError,
)
from botocore.loaders import create_loader
from botocore.session import get_session
from django.conf import settings

from portal.core.errors import CloudFault

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

SESSION_SECONDS = 3600
_CONFIG = Config(
    connect_timeout=5,
    read_timeout=65,
    retries={"mode": "standard", "max_attempts": 4},
    max_pool_connections=32,
    tcp_keepalive=True,
)


@dataclass(frozen=True)
class Account:
    """A cloud account that can be reached: twelve digits, region, role and the ExternalId that the role demands."""

    number: str
    region: str
    role_arn: str
    external_id: str


_lock = threading.RLock()
_sessions: dict[Account | None, boto3.Session] = {}
# What AWS's services look like: megabytes to read and to keep, and the same for every session.
_loader = create_loader()
_clients: dict[tuple[Account | None, str], Any] = {}


@overload
def client(service: Literal["s3"], account: Account | None = None) -> S3Client: ...
@overload
def client(service: Literal["sqs"], account: Account | None = None) -> SQSClient: ...
@overload
def client(service: Literal["ec2"], account: Account | None = None) -> EC2Client: ...
@overload
def client(service: Literal["iam"], account: Account | None = None) -> IAMClient: ...
@overload
def client(service: Literal["secretsmanager"], account: Account | None = None) -> SecretsManagerClient: ...
@overload
def client(service: Literal["sts", "cloudwatch"], account: Account | None = None) -> Any: ...
def client(service: str, account: Account | None = None) -> Any:
    """A client, shared by threads: with Orca's own credentials, or with those of ``account``'s role."""
    with _lock:
        key = (account, service)
        if key not in _clients:
            _clients[key] = _session(account).client(service, config=_CONFIG)  # type: ignore[call-overload]
        return _clients[key]


def link_client(account: Account | None) -> S3Client:
    """A client that signs links for browsers, which may reach S3 at another address than the portal does.

    Links with Orca's own credentials name the bucket's region: who follows them may not follow where S3 sends them.
    """
    with _lock:
        key = (account, "links")
        if key not in _clients:
            plain: Literal["virtual", "auto"] = "virtual" if account is None else "auto"
            style: Literal["path", "virtual", "auto"] = "path" if settings.S3_PATH_STYLE else plain
            _clients[key] = _session(account).client(
                "s3",
                endpoint_url=settings.PUBLIC_AWS_ENDPOINT_URL or None,
                config=Config(signature_version="s3v4", s3={"addressing_style": style}),
            )
        found: S3Client = _clients[key]
        return found


def _session(account: Account | None) -> boto3.Session:
    if account not in _sessions:
        session = get_session()
        session.register_component("data_loader", _loader)
        if account is not None:
            session._credentials = RefreshableCredentials.create_from_metadata(  # type: ignore[attr-defined]
                metadata=_assume(account), refresh_using=lambda: _assume(account), method="sts-assume-role"
            )
        region = account.region if account else None
        _sessions[account] = boto3.Session(botocore_session=session, region_name=region)
    return _sessions[account]


def _assume(account: Account) -> dict[str, str]:
    with translated("use the cloud account's role"):
        found = client("sts").assume_role(
            RoleArn=account.role_arn,
            RoleSessionName="orca",
            ExternalId=account.external_id,
            DurationSeconds=SESSION_SECONDS,
        )["Credentials"]
    return {
        "access_key": found["AccessKeyId"],
        "secret_key": found["SecretAccessKey"],
        "token": found["SessionToken"],
        "expiry_time": found["Expiration"].isoformat(),
    }


def forget_account(account: Account) -> None:
    """Drop what is remembered of one account, so that the next call asks for its role anew."""
    with _lock:
        _sessions.pop(account, None)
        for key in [key for key in _clients if key[0] == account]:
            del _clients[key]


def forget_sessions() -> None:
    """Drop every cached session and client: after a fork, or when an account's role has changed."""
    with _lock:
        _sessions.clear()
        _clients.clear()


_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthFailure", "403"}
_STALE = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
}
_ABSENT = {
    "NoSuchBucket",
    "NoSuchKey",
    "404",
    "NotFound",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
    "ResourceNotFoundException",
}
_BUSY = {
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "SlowDown",
    "ServiceUnavailable",
    "InternalError",
}


def error_code(error: ClientError) -> str:
    """AWS's own code of an error."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn what boto3 raises while ``doing`` something into a ``CloudFault`` that says whose move it is."""
    try:
        yield
    except ClientError as error:
        raise _fault(doing, error) from error
    except (EndpointConnectionError, ConnectionError, HTTPClientError) as error:
        raise CloudFault(
            f"The cloud did not answer (trying to {doing}).",
            code="cloud_unreachable",
            hint="This usually passes; Orca tries again by itself.",
            retryable=True,
        ) from error
    except BotoCoreError as error:
        raise CloudFault(f"Could not {doing}: {error}", code="cloud_client") from error


def _fault(doing: str, error: ClientError) -> CloudFault:
    code = error_code(error)
    said = error.response.get("Error", {}).get("Message", "")
    if code in _DENIED:
        return CloudFault(
            f"The cloud account did not allow Orca to {doing}: {said}",
            code="cloud_denied",
            hint="Check the role's permissions and its trust policy.",
        )
    if code in _STALE:
        forget_sessions()
        return CloudFault(
            f"The cloud refused Orca's credentials (trying to {doing}).",
            code="cloud_credentials",
            hint="An operator checks Orca's AWS credentials.",
            retryable=True,
        )
    if code in _ABSENT:
        return CloudFault(f"What is needed to {doing} is not there: {said}", code="cloud_absent", retryable=True)
    if code in _BUSY:
        return CloudFault(f"The cloud is too busy to {doing}.", code="cloud_busy", retryable=True)
    return CloudFault(f"Could not {doing}: {said or code}", code="cloud_refused")
