"""Data in other people's buckets: read without credentials, or as the requester who pays.

Without ``requester_pays`` nothing is signed, so only what is public is read. With it the workspace's role signs: it
must never serve to look into a bucket of Orca's or of another workspace (it would be a confused deputy).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from portal.core.errors import CloudFault
from portal.gateways.aws import Account, client, error_code, link_client, translated
from portal.gateways.aws_storage import LINK_SECONDS, StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Every bucket that Orca makes begins so.
_OURS: Final = "orca-"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_pays: ContextVar[bool] = ContextVar("pays", default=False)


@dataclass(frozen=True)
class Place:
    """An object, or what the names of several begin with."""

    bucket: str
    key: str

    @property
    def url(self) -> str:
        """Its address."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Reach:
    """On whose behalf is read: the account, the workspace's own bucket, and whether the account pays for others'."""

    account: Account | None
    bucket: str
    requester_pays: bool = False


def place(url: str) -> Place | None:
    """The object that an address means: ``s3://bucket/key``."""
    parts = urlsplit(url)
    # Of a key anything may be part, also what separates a query elsewhere.
    return (
        Place(parts.netloc, url.removeprefix(f"s3://{parts.netloc}").removeprefix("/"))
        if parts.scheme == "s3"
        else None
    )


def read(what: Place, reach: Reach, *, most: int) -> bytes:
    """A whole object. A ``CloudFault``, with code ``too_large`` where it has more than ``most`` bytes."""
    s3, extra = _way(what, reach)
    with translated(f"read {what.url}"):
        found = s3.get_object(Bucket=what.bucket, Key=what.key, **extra)
        body = b"" if found["ContentLength"] > most else found["Body"].read(most)
    if found["ContentLength"] > most:
        raise CloudFault(f"It is larger than {most // (1024 * 1024)} MB.", code="too_large")
    return body


def size(what: Place, reach: Reach) -> int | None:
    """How many bytes an object has; nothing where it is not there."""
    s3, extra = _way(what, reach)
    with translated(f"look at {what.url}"):
        try:
            return s3.head_object(Bucket=what.bucket, Key=what.key, **extra)["ContentLength"]
        except ClientError as error:
            if error_code(error) in {"404", "NoSuchKey", "NotFound"}:
                return None
            raise


def objects(what: Place, reach: Reach) -> Iterator[StoredObject]:
    """The objects whose keys begin so, by name; a page is asked for when it is needed."""
    s3, extra = _way(what, reach)
    with translated(f"list {what.url}"):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=what.bucket, Prefix=what.key, **extra):
            for found in page.get("Contents", []):
                yield StoredObject(found["Key"], found["Size"], found["LastModified"])


def link(what: Place, reach: Reach, *, seconds: int = LINK_SECONDS) -> str:
    """An https address, good for so many ``seconds``, at which an instance gets the object."""
    _, extra = _way(what, reach)
    request = {"Bucket": what.bucket, "Key": what.key}
    with translated("make a download link"), _paid(bool(extra)):
        signed = what.bucket == reach.bucket or reach.requester_pays
        s3 = link_client(reach.account) if signed else _public()
        s3.meta.events.register("before-sign.s3.GetObject", _pay, unique_id="orca-requester-pays")
        return s3.generate_presigned_url("get_object", Params=request, ExpiresIn=seconds)


@contextmanager
def _paid(paid: bool) -> Iterator[None]:
    token = _pays.set(paid)
    try:
        yield
    finally:
        _pays.reset(token)


def _pay(request: Any, **_: Any) -> None:
    """Say in the address that the requester pays: boto3 would sign a header, which whoever follows it does not send."""
    if _pays.get():
        request.params["x-amz-request-payer"] = "requester"


def _way(what: Place, reach: Reach) -> tuple[S3Client, dict[str, Any]]:
    """The client to go through, and what to say besides."""
    if not _BUCKET.fullmatch(what.bucket):
        raise CloudFault(f"There is no bucket {what.bucket}.", code="cloud_absent")
    if what.bucket == reach.bucket:
        return client("s3", reach.account), {}
    if not reach.requester_pays:
        return _public(), {}
    if what.bucket.startswith(_OURS):
        # Said as for one that is not there: whose it is does not matter to anybody else.
        raise CloudFault(f"There is no bucket {what.bucket} for you.", code="cloud_absent")
    return client("s3", reach.account), {"RequestPayer": "requester"}


@cache
def _public() -> S3Client:
    return boto3.Session().client(
        "s3",
        config=Config(
            signature_version=UNSIGNED, connect_timeout=5, read_timeout=20, retries={"mode": "standard"},
            max_pool_connections=32,
        ),
    )  # fmt: skip
