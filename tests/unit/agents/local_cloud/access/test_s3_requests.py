"""Requests to S3 are named as the service authorization reference names them."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest

from agents.local_cloud.access.s3_requests import address, keys_to_delete, pays, wanted


def request(method: str, target: str, **headers: str) -> tuple[dict[str, Any], dict[str, str]]:
    environ = {"REQUEST_METHOD": method, "RAW_URI": target, "HTTP_HOST": "127.0.0.1:5566"}
    environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    return environ, dict(parse_qsl(target.partition("?")[2], keep_blank_values=True))


@pytest.mark.parametrize(
    ("method", "target", "action", "resource"),
    [
        ("GET", "/", "ListAllMyBuckets", "*"),
        ("PUT", "/b", "CreateBucket", "b"),
        ("DELETE", "/b", "DeleteBucket", "b"),
        ("HEAD", "/b", "ListBucket", "b"),
        ("GET", "/b?list-type=2&prefix=x", "ListBucket", "b"),
        ("GET", "/b?versions", "ListBucketVersions", "b"),
        ("GET", "/b?uploads", "ListBucketMultipartUploads", "b"),
        ("GET", "/b?policy", "GetBucketPolicy", "b"),
        ("PUT", "/b?policy", "PutBucketPolicy", "b"),
        ("DELETE", "/b?policy", "DeleteBucketPolicy", "b"),
        ("PUT", "/b?publicAccessBlock", "PutBucketPublicAccessBlock", "b"),
        ("DELETE", "/b?tagging", "PutBucketTagging", "b"),
        ("GET", "/b/a/k%20x.txt", "GetObject", "b/a/k x.txt"),
        ("HEAD", "/b/k", "GetObject", "b/k"),
        ("GET", "/b/k?versionId=1", "GetObjectVersion", "b/k"),
        ("PUT", "/b/k", "PutObject", "b/k"),
        ("PUT", "/b/k?partNumber=1&uploadId=u", "PutObject", "b/k"),
        ("POST", "/b/k?uploads", "PutObject", "b/k"),
        ("POST", "/b/k?uploadId=u", "PutObject", "b/k"),
        ("DELETE", "/b/k?uploadId=u", "AbortMultipartUpload", "b/k"),
        ("GET", "/b/k?uploadId=u", "ListMultipartUploadParts", "b/k"),
        ("DELETE", "/b/k", "DeleteObject", "b/k"),
        ("DELETE", "/b/k?versionId=1", "DeleteObjectVersion", "b/k"),
        ("GET", "/b/k?acl", "GetObjectAcl", "b/k"),
        ("PUT", "/b/k?tagging&versionId=1", "PutObjectVersionTagging", "b/k"),
        ("DELETE", "/b/k?tagging", "DeleteObjectTagging", "b/k"),
        ("POST", "/b/k?restore", "RestoreObject", "b/k"),
    ],
)
def test_the_action_and_the_resource_of_a_request(method: str, target: str, action: str, resource: str) -> None:
    environ, query = request(method, target)
    found = wanted(environ, query, b"", {})
    arn = "*" if resource == "*" else f"arn:aws:s3:::{resource}"
    assert [(one.action, one.resource) for one in found] == [(f"s3:{action}", arn)]


def test_who_pays_is_said_in_a_header_or_in_the_address() -> None:
    assert not pays(*request("GET", "/b/k"))
    assert not pays(*request("GET", "/b/k", x_amz_request_payer="owner"))
    assert pays(*request("GET", "/b/k", x_amz_request_payer="requester"))
    assert pays(*request("GET", "/b/k?x-amz-request-payer=requester"))


def test_a_copy_reads_its_source_too() -> None:
    environ, query = request("PUT", "/b/k", x_amz_copy_source="/other/a%20b?versionId=3")
    found = wanted(environ, query, b"", {})
    assert [(one.action, one.resource) for one in found] == [
        ("s3:PutObject", "arn:aws:s3:::b/k"),
        ("s3:GetObjectVersion", "arn:aws:s3:::other/a b"),
    ]


def test_a_bucket_may_be_in_the_host() -> None:
    environ, _ = request("GET", "/a/k")
    environ["HTTP_HOST"] = "bucket.s3.eu-central-1.amazonaws.com"
    assert (address(environ).bucket, address(environ).key) == ("bucket", "a/k")


def test_the_keys_of_a_deletion_are_read_with_or_without_a_name_space() -> None:
    body = "<Delete{}><Object><Key>a b</Key></Object><Object><Key>c</Key></Object></Delete>"
    for name_space in ("", ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'):
        assert keys_to_delete(body.format(name_space).encode()) == ["a b", "c"]
    assert keys_to_delete(b"no xml") == []
