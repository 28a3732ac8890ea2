"""Many objects and large ones: copied where they lie, written in parts while they come, deleted by the thousand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import IO, Any, Final

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from portal.gateways.aws import Account, client, error_code, translated

PART: Final = 16 * 1024 * 1024
MOST_PARTS: Final = 10_000
_CHUNK: Final = 1024 * 1024
_LARGEST_COPY: Final = 5 * 1024**3
_ALONE = TransferConfig(use_threads=False)


def put_file(account: Account, bucket: str, key: str, content: IO[bytes], content_type: str) -> None:
    """Write an object from a file, in parts where it is large."""
    with translated("write to the workspace's bucket"):
        client("s3", account).upload_fileobj(
            content, bucket, key, ExtraArgs={"ContentType": content_type}, Config=_ALONE
        )


def copy(account: Account, bucket: str, source: str, target: str, size: int) -> str:
    """Copy an object inside a bucket, without its coming here; the copy's ETag."""
    place: Any = {"Bucket": bucket, "Key": source}
    s3 = client("s3", account)
    with translated("copy in the workspace's bucket"):
        if size < _LARGEST_COPY:
            return s3.copy_object(Bucket=bucket, Key=target, CopySource=place)["CopyObjectResult"]["ETag"].strip('"')
        s3.copy(place, bucket, target, Config=_ALONE)
        return s3.head_object(Bucket=bucket, Key=target)["ETag"].strip('"')


def chunks(account: Account, bucket: str, key: str) -> Iterator[bytes]:
    """An object's content, as it comes."""
    with translated("read from the bucket"):
        body = client("s3", account).get_object(Bucket=bucket, Key=key)["Body"]
        yield from body.iter_chunks(_CHUNK)


def delete_many(account: Account, bucket: str, keys: Iterable[str]) -> int:
    """Delete objects; how many were named."""
    s3, count = client("s3", account), 0
    some: list[Any] = []
    with translated("delete from the bucket"):
        for key in keys:
            some.append({"Key": key})
            count += 1
            if len(some) == 1_000:
                s3.delete_objects(Bucket=bucket, Delete={"Objects": some, "Quiet": True})
                some = []
        if some:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": some, "Quiet": True})
    return count


def delete_below(account: Account, bucket: str, prefix: str) -> int:
    """Delete everything whose key begins with a prefix; how many objects. A bucket that is gone counts as empty."""
    pages = client("s3", account).get_paginator("list_objects_v2")
    if not PurePosixPath(prefix).name:
        raise ValueError("a prefix without a name is the whole bucket")
    gone = 0
    with translated("delete from the bucket"):
        try:
            for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                gone += delete_many(account, bucket, [found["Key"] for found in page.get("Contents", [])])
        except ClientError as error:
            if error_code(error) != "NoSuchBucket":
                raise
    return gone


def put_stream(
    account: Account, bucket: str, key: str, content: Iterable[bytes], content_type: str, *, alive: Callable[[], None]
) -> int:
    """Write an object of any size while it is made, some parts of it in memory at most; its size in bytes.

    ``alive`` is called with each part; what it raises gives the upload up. Parts grow with the object, because there
    may be only so many.
    """
    s3 = client("s3", account)
    with translated("write to the workspace's bucket"):
        upload = s3.create_multipart_upload(Bucket=bucket, Key=key, ContentType=content_type)["UploadId"]
        place: Any = {"Bucket": bucket, "Key": key, "UploadId": upload}
        try:
            parts: list[Any] = []
            size = 0
            for number, part in enumerate(_parts(content), 1):
                alive()
                answer = s3.upload_part(**place, PartNumber=number, Body=part)
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
                size += len(part)
            s3.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
        except BaseException:
            s3.abort_multipart_upload(**place)
            raise
        return size


def _parts(content: Iterable[bytes]) -> Iterator[bytes]:
    """At least one, each as large as S3 asks for; twice as large after each tenth of all that there may be."""
    held, number = bytearray(), 0
    for chunk in content:
        held += chunk
        most = PART * 2 ** (number // (MOST_PARTS // 10))
        if len(held) >= most:
            yield bytes(held)
            held.clear()
            number += 1
    if held or not number:
        yield bytes(held)
