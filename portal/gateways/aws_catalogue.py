"""Data in other people's buckets: read without credentials, or as the requester who pays.

Without ``requester_pays`` nothing is signed, so only what is public is read. With it the workspace's role signs: it
must never serve to look into a bucket of Orca's or of another workspace (it would be a confused deputy). So Orca's
names are refused here, and the sessions that sign may read in other accounts only, whatever else the role may.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from portal.core.errors import CloudFault
from portal.gateways import aws_linked, provisioner_policy
from portal.gateways.aws import Account, client, error_code, link_client, translated
from portal.gateways.aws_storage import LINK_SECONDS, StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Every bucket that Orca makes begins so.
_OURS: Final = "orca-"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# The code of a ``CloudFault``: the bucket is there, and may not be read this way.
CLOSED: Final = "bucket_closed"
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


def is_ours(bucket: str) -> bool:
    """Whether it is called as buckets of Orca's and of workspaces are."""
    return bucket.startswith(_OURS)


def read(what: Place, reach: Reach, *, most: int) -> bytes:
    """A whole object. A ``CloudFault``, with code ``too_large`` where it has more than ``most`` bytes."""
    s3, extra = _way(what, reach)
    with _told(what, reach, f"read {what.url}"):
        found = s3.get_object(Bucket=what.bucket, Key=what.key, **extra)
        body = b"" if found["ContentLength"] > most else found["Body"].read(most)
    if found["ContentLength"] > most:
        raise CloudFault(f"It is larger than {most // (1024 * 1024)} MB.", code="too_large")
    return body


def size(what: Place, reach: Reach) -> int | None:
    """How many bytes an object has; nothing where it is not there."""
    s3, extra = _way(what, reach)
    with _told(what, reach, f"look at {what.url}"):
        try:
            return s3.head_object(Bucket=what.bucket, Key=what.key, **extra)["ContentLength"]
        except ClientError as error:
            if error_code(error) in {"404", "NoSuchKey", "NotFound"}:
                return None
            raise


def objects(what: Place, reach: Reach) -> Iterator[StoredObject]:
    """The objects whose keys begin so, by name; a page is asked for when it is needed."""
    s3, extra = _way(what, reach)
    with _told(what, reach, f"list {what.url}"):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=what.bucket, Prefix=what.key, **extra):
            for found in page.get("Contents", []):
                yield StoredObject(found["Key"], found["Size"], found["LastModified"])


def link(what: Place, reach: Reach, *, seconds: int = LINK_SECONDS) -> str:
    """An https address, good for so many ``seconds``, at which an instance gets the object."""
    _, extra = _way(what, reach)
    request = {"Bucket": what.bucket, "Key": what.key}
    with translated("make a download link"), _paid(bool(extra)):
        s3 = _signer(what, reach)
        s3.meta.events.register("before-sign.s3.GetObject", _pay, unique_id="orca-requester-pays")
        return s3.generate_presigned_url("get_object", Params=request, ExpiresIn=seconds)


def _signer(what: Place, reach: Reach) -> S3Client:
    """Who makes the link: S3 refuses what was signed for another region than the bucket's."""
    if what.bucket == reach.bucket:
        return link_client(reach.account)
    if not reach.requester_pays:
        return _public()
    reader = _reader(reach.account)
    return link_client(reader, _region(what.bucket, reader))


@lru_cache(maxsize=1024)
def _region(bucket: str, account: Account | None) -> str:
    """The region that a bucket is in, which S3 tells whoever asks; empty where it does not."""
    answer: Mapping[str, Any]
    try:
        answer = client("s3", account).head_bucket(Bucket=bucket)["ResponseMetadata"]
    except ClientError as error:
        answer = error.response["ResponseMetadata"]
    return str(answer.get("HTTPHeaders", {}).get("x-amz-bucket-region", ""))


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
    if is_ours(what.bucket):
        # Said as for one that is not there: whose it is does not matter to anybody else.
        raise CloudFault(f"There is no bucket {what.bucket} for you.", code="cloud_absent")
    return client("s3", _reader(reach.account)), {"RequestPayer": "requester"}


def _reader(account: Account | None) -> Account | None:
    """The account's role in sessions that can do nothing but read in other accounts."""
    return None if account is None else replace(account, policy=_narrowed(account.number))


@cache
def _narrowed(number: str) -> str:
    return json.dumps(provisioner_policy.others_data(number), separators=(",", ":"))


@contextmanager
def _told(what: Place, reach: Reach, doing: str) -> Iterator[None]:
    """As ``translated``; of a refusal by somebody else's bucket it is said what would help."""
    try:
        with translated(doing):
            yield
    except CloudFault as fault:
        if fault.code != "cloud_denied" or what.bucket == reach.bucket:
            raise
        raise _closed(what, reach) from fault


def _closed(what: Place, reach: Reach) -> CloudFault:
    if not reach.requester_pays:
        return CloudFault(
            f"The bucket {what.bucket} is not open to everybody.",
            code=CLOSED,
            hint="If its owner lets others read it at their own cost, say requester_pays: true.",
        )
    if missing := _missing(what, reach.account):
        return CloudFault(
            f"The role of the workspace's cloud account may not read other people's buckets. Missing: {missing}.",
            code=CLOSED,
            hint="Apply Terraform's envs/link or the CloudFormation template again, then check the role.",
        )
    return CloudFault(
        f"The bucket {what.bucket} does not let the workspace's cloud account read it.",
        code=CLOSED,
        hint="Its owner has to let others in. A bucket in the same account as the workspace cannot be read this way.",
    )


def _missing(what: Place, account: Account | None) -> str:
    """What the role would need to read in other accounts and may not; nothing where it does not tell."""
    if account is None:
        return ""
    bucket, outside = f"arn:aws:s3:::{what.bucket}", {"aws:ResourceAccount": "0" * 12}
    asked = (("s3:GetObject", f"{bucket}/{what.key}"), ("s3:ListBucket", bucket))
    try:
        return ", ".join(action for action, arn in asked if aws_linked.denied(account, [action], [arn], outside))
    except CloudFault:
        return ""


@cache
def _public() -> S3Client:
    return boto3.Session().client(
        "s3",
        config=Config(
            signature_version=UNSIGNED, connect_timeout=5, read_timeout=20, retries={"mode": "standard"},
            max_pool_connections=32,
        ),
    )  # fmt: skip
