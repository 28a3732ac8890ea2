"""Objects: in a workspace's bucket with its account's role, in Orca's own bucket with Orca's credentials."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from botocore.exceptions import ClientError

from portal.gateways.aws import Account, client, error_code, link_client, translated
from portal.gateways.aws_platform import platform_bucket

LINK_SECONDS = 900


@dataclass(frozen=True)
class StoredObject:
    """One object: key, size in bytes, time of its last change."""

    key: str
    size: int
    modified: datetime


def put_bytes(account: Account, bucket: str, key: str, content: bytes, content_type: str) -> None:
    """Write a small object."""
    with translated("write to the workspace's bucket"):
        client("s3", account).put_object(Bucket=bucket, Key=key, Body=content, ContentType=content_type)


def read_bytes(account: Account | None, bucket: str, key: str, *, most: int, start: int = 0) -> bytes:
    """At most ``most`` bytes of an object, from byte ``start``; nothing where the object is empty or shorter."""
    with translated("read from the bucket"):
        try:
            found = client("s3", account).get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{start + most - 1}")
        except ClientError as error:
            if error_code(error) == "InvalidRange":
                return b""
            raise
        return found["Body"].read()


def exists(account: Account | None, bucket: str, key: str) -> bool:
    """Whether an object is there."""
    with translated("look into the bucket"):
        try:
            client("s3", account).head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error_code(error) in {"404", "NoSuchKey", "NotFound"}:
                return False
            raise
        return True


def objects(account: Account, bucket: str, prefix: str, *, most: int = 1000) -> Iterator[StoredObject]:
    """The objects below a prefix, by name."""
    pages = client("s3", account).get_paginator("list_objects_v2")
    with translated("list the bucket"):
        for page in pages.paginate(Bucket=bucket, Prefix=prefix, PaginationConfig={"MaxItems": most}):
            for found in page.get("Contents", []):
                yield StoredObject(found["Key"], found["Size"], found["LastModified"])


def link(
    account: Account, bucket: str, key: str, *, filename: str = "", inline_as: str = "", seconds: int = LINK_SECONDS
) -> str:
    """A presigned address, good for so many ``seconds``, to download an object or (``inline_as`` a type) to show it."""
    request: dict[str, str] = {"Bucket": bucket, "Key": key}
    if filename:
        safe = "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in filename)
        request["ResponseContentDisposition"] = f'attachment; filename="{safe}"'
    if inline_as:
        request["ResponseContentType"] = inline_as
        request["ResponseContentDisposition"] = "inline"
    with translated("make a download link"):
        return link_client(account).generate_presigned_url("get_object", Params=request, ExpiresIn=seconds)


def bundle_put(sha256: str, content: IO[bytes]) -> None:
    """Keep a script bundle in Orca's own bucket, under its hash."""
    with translated("keep the script"):
        client("s3").upload_fileobj(content, platform_bucket(), _bundle_key(sha256))


def bundle_open(sha256: str) -> IO[bytes]:
    """A script bundle as a stream."""
    with translated("read the script"):
        body: Any = client("s3").get_object(Bucket=platform_bucket(), Key=_bundle_key(sha256))["Body"]
        return body  # type: ignore[no-any-return]


_delivered: set[tuple[str, str]] = set()


def bundle_deliver(account: Account, bucket: str, sha256: str) -> str:
    """Make sure that a workspace's bucket holds a bundle; its key there."""
    key = f"scripts/{sha256}.zip"
    if (bucket, sha256) in _delivered:
        return key
    if not exists(account, bucket, key):
        with translated("hand the script to the workspace"):
            client("s3", account).upload_fileobj(bundle_open(sha256), bucket, key)
    _delivered.add((bucket, sha256))
    return key


def bucket_forget(bucket: str) -> None:
    """Forget what was delivered to a bucket that is gone."""
    _delivered.difference_update({entry for entry in _delivered if entry[0] == bucket})


def _bundle_key(sha256: str) -> str:
    return f"bundles/{sha256}.zip"


def bucket_empty(account: Account, bucket: str) -> int:
    """Delete everything in a bucket, all versions; how many objects. A bucket that is gone counts as empty."""
    s3, gone = client("s3", account), 0
    with translated("empty the workspace's bucket"):
        try:
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
                doomed = [
                    {"Key": entry["Key"], "VersionId": entry["VersionId"]}
                    for entry in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
                ]
                if doomed:
                    s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed, "Quiet": True})  # type: ignore[typeddict-item]
                    gone += len(doomed)
        except ClientError as error:
            if error_code(error) != "NoSuchBucket":
                raise
    bucket_forget(bucket)
    return gone


def plan_keep(bucket: str, key: str, plan: Path) -> None:
    """Keep a Terraform plan that waits for a person's yes, where any worker finds it."""
    with translated("keep the plan"):
        client("s3").upload_file(str(plan), bucket, key)


def plan_fetch(bucket: str, key: str, plan: Path) -> None:
    """Fetch a kept plan."""
    with translated("fetch the plan"):
        client("s3").download_file(bucket, key, str(plan))


def plan_drop(bucket: str, key: str) -> None:
    """Forget a kept plan."""
    with translated("forget the plan"):
        client("s3").delete_object(Bucket=bucket, Key=key)
