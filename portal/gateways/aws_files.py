"""A person's own objects: listed, and carried by presigned links, whole or in parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from portal.gateways.aws import Account, client, error_code, link_client, translated
from portal.gateways.aws_storage import LINK_SECONDS, StoredObject


@dataclass(frozen=True)
class Listing:
    """One page of a bucket's names: objects, the folders between them, and where the next page begins."""

    objects: list[StoredObject]
    folders: list[str]
    next: str


def listing(account: Account, bucket: str, prefix: str, *, cursor: str, folders: bool, most: int) -> Listing:
    """A page of what is below a prefix, by name; with ``folders`` only to the next slash.

    A cursor that S3 does not know is a ``CloudFault`` with code ``cloud_refused``.
    """
    request: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": most}
    if folders:
        request["Delimiter"] = "/"
    if cursor:
        request["ContinuationToken"] = cursor
    with translated("list the bucket"):
        page = client("s3", account).list_objects_v2(**request)
    found = [StoredObject(entry["Key"], entry["Size"], entry["LastModified"]) for entry in page.get("Contents", [])]
    below = [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
    return Listing(found, below, page.get("NextContinuationToken", ""))


def described(account: Account, bucket: str, key: str) -> StoredObject | None:
    """One object's size and time; nothing where it is not there."""
    with translated("look into the bucket"):
        try:
            found = client("s3", account).head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error_code(error) in {"404", "NoSuchKey", "NotFound"}:
                return None
            raise
        return StoredObject(key, found["ContentLength"], found["LastModified"])


def delete(account: Account, bucket: str, key: str) -> None:
    """Delete an object; one that is not there counts as deleted."""
    with translated("delete from the bucket"):
        client("s3", account).delete_object(Bucket=bucket, Key=key)


def upload_link(account: Account, bucket: str, key: str) -> str:
    """A presigned address, good for ``LINK_SECONDS``, to PUT an object to."""
    with translated("make an upload link"):
        # A link to a bucket that is not there would be refused only when it is used.
        client("s3", account).head_bucket(Bucket=bucket)
        request = {"Bucket": bucket, "Key": key}
        return link_client(account).generate_presigned_url("put_object", Params=request, ExpiresIn=LINK_SECONDS)


def parts_begin(account: Account, bucket: str, key: str) -> str:
    """Begin an object that comes in parts; S3's id of the upload."""
    with translated("begin the upload"):
        return client("s3", account).create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]


def part_links(account: Account, bucket: str, key: str, upload_id: str, numbers: range) -> list[str]:
    """Presigned addresses, good for ``LINK_SECONDS``, to PUT these parts to (the first is number 1)."""
    request = {"Bucket": bucket, "Key": key, "UploadId": upload_id}
    with translated("make upload links"):
        s3 = link_client(account)
        return [
            s3.generate_presigned_url("upload_part", Params={**request, "PartNumber": number}, ExpiresIn=LINK_SECONDS)
            for number in numbers
        ]


def parts_complete(account: Account, bucket: str, key: str, upload_id: str, etags: list[str]) -> None:
    """Make the object of its parts, which are named by what S3 answered to each PUT.

    A ``CloudFault`` with code ``cloud_refused`` where the upload or one of the parts is not there.
    """
    parts: Any = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
    with translated("complete the upload"):
        s3 = client("s3", account)
        s3.list_parts(Bucket=bucket, Key=key, UploadId=upload_id, MaxParts=1)  # moto itself breaks on an unknown one
        s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts})


def parts_abort(account: Account, bucket: str, key: str, upload_id: str) -> None:
    """Throw away the parts of an upload; one that is not there counts as gone."""
    with translated("give the upload up"):
        try:
            client("s3", account).abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
        except ClientError as error:
            if error_code(error) != "NoSuchUpload":
                raise
