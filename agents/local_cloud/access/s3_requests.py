"""What a request to S3 wants to do, in IAM's terms: actions, resources and condition keys.

After "Actions, resources, and condition keys for Amazon S3" of the service authorization reference. Path-style and
virtual-hosted addresses are both understood, because moto serves both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from agents.local_cloud.access.policies import Request

_BUCKET_SUBRESOURCES = {
    "accelerate": "AccelerateConfiguration",
    "acl": "BucketAcl",
    "analytics": "AnalyticsConfiguration",
    "cors": "BucketCORS",
    "encryption": "EncryptionConfiguration",
    "intelligent-tiering": "IntelligentTieringConfiguration",
    "inventory": "InventoryConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "location": "BucketLocation",
    "logging": "BucketLogging",
    "metrics": "MetricsConfiguration",
    "notification": "BucketNotification",
    "object-lock": "BucketObjectLockConfiguration",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "policyStatus": "BucketPolicyStatus",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "replication": "ReplicationConfiguration",
    "requestPayment": "BucketRequestPayment",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
    "website": "BucketWebsite",
}

_OBJECT_SUBRESOURCES = {
    "acl": "Acl",
    "tagging": "Tagging",
    "retention": "Retention",
    "legal-hold": "LegalHold",
    "attributes": "Attributes",
}

#: Who may pay for what others fetch from a bucket; the other value is "BucketOwner".
REQUESTER = "Requester"


@dataclass(frozen=True)
class Address:
    """Where a request goes. Both empty: the service itself. ``key`` is decoded."""

    bucket: str
    key: str

    @property
    def arn(self) -> str:
        """The ARN of the object, the bucket, or everything."""
        path = f"{self.bucket}/{self.key}" if self.key else self.bucket
        return f"arn:aws:s3:::{path}" if path else "*"


def address(environ: Mapping[str, Any]) -> Address:
    """Bucket and key of a request, from its path or its Host."""
    path = unquote(str(environ["RAW_URI"]).split("?", 1)[0]).removeprefix("/")
    host = str(environ.get("HTTP_HOST", "")).split(":", 1)[0]
    virtual = re.fullmatch(r"(.+)\.s3[.-][^/]*", host) or re.fullmatch(r"(.+)\.localhost", host)
    if virtual:
        return Address(virtual[1], path)
    bucket, _, key = path.partition("/")
    return Address(bucket, key)


def wanted(
    environ: Mapping[str, Any], query: Mapping[str, str], body: bytes, context: Mapping[str, list[str]]
) -> list[Request]:
    """Everything that the request needs permission for; all of it must be permitted.

    A DeleteObjects call is not here: see ``keys_to_delete``, since S3 answers it object by object.
    """
    where = address(environ)
    method = str(environ["REQUEST_METHOD"])
    keys = {**context, **_condition_keys(environ, query)}
    if not where.bucket:
        return [Request("s3:ListAllMyBuckets", "*", keys)]
    if not where.key:
        action = _bucket_action(method, query)
        return [Request(action, where.arn, keys)]
    requests = [Request(_object_action(method, query), where.arn, keys)]
    source = environ.get("HTTP_X_AMZ_COPY_SOURCE")
    if source and method == "PUT":
        requests.append(_read_of_source(str(source), keys))
    if method == "PUT" and environ.get("HTTP_X_AMZ_TAGGING"):
        requests.append(Request("s3:PutObjectTagging", where.arn, keys))
    return requests


def pays(environ: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    """Whether the request says that its sender pays for it: in a header, or in the address where that is signed."""
    return "requester" in (environ.get("HTTP_X_AMZ_REQUEST_PAYER"), query.get("x-amz-request-payer"))


def keys_to_delete(body: bytes) -> list[str]:
    """The keys that a DeleteObjects body names; none if it is not XML."""
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - moto parses the same body; expat expands no externals
    except ElementTree.ParseError:
        return []
    return [element.text or "" for element in root.iter() if element.tag.rpartition("}")[2] == "Key"]


def _bucket_action(method: str, query: Mapping[str, str]) -> str:
    verb = {"GET": "Get", "HEAD": "Get"}.get(method, "Put")
    for name, noun in _BUCKET_SUBRESOURCES.items():
        if name in query:
            deletes = method == "DELETE" and name in ("policy", "website")
            return f"s3:{'Delete' if deletes else verb}{noun}"
    if method in ("GET", "HEAD"):
        if "uploads" in query:
            return "s3:ListBucketMultipartUploads"
        return "s3:ListBucketVersions" if "versions" in query else "s3:ListBucket"
    if method == "DELETE":
        return "s3:DeleteBucket"
    if method == "POST":
        return "s3:DeleteObject" if "delete" in query else "s3:PutObject"
    return "s3:CreateBucket"


def _object_action(method: str, query: Mapping[str, str]) -> str:
    version = "Version" if query.get("versionId") else ""
    reading = method in ("GET", "HEAD")
    for name, noun in _OBJECT_SUBRESOURCES.items():
        if name in query:
            verb = "Get" if reading else "Delete" if method == "DELETE" else "Put"
            versioned = version if name in ("acl", "tagging", "attributes") else ""
            return f"s3:{verb}Object{versioned}{noun}"
    if "uploadId" in query and method not in ("PUT", "POST"):
        return "s3:ListMultipartUploadParts" if reading else "s3:AbortMultipartUpload"
    if reading or "select" in query:
        return f"s3:GetObject{version}"
    if method == "DELETE":
        return f"s3:DeleteObject{version}"
    return "s3:RestoreObject" if "restore" in query else "s3:PutObject"


def _read_of_source(source: str, context: Mapping[str, list[str]]) -> Request:
    path, _, version = unquote(source).removeprefix("/").partition("?versionId=")
    action = "s3:GetObjectVersion" if version else "s3:GetObject"
    return Request(action, f"arn:aws:s3:::{path}", context)


def _condition_keys(environ: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, list[str]]:
    keys = {f"s3:{name}": [query[name]] for name in ("prefix", "delimiter", "max-keys", "versionId") if name in query}
    if "s3:prefix" not in keys:
        keys["s3:prefix"] = [""]
    for name in (
        "x-amz-acl",
        "x-amz-server-side-encryption",
        "x-amz-storage-class",
        "x-amz-content-sha256",
        "x-amz-copy-source",
        "if-none-match",
    ):
        value = environ.get("HTTP_" + name.upper().replace("-", "_"))
        if value is not None:
            keys[f"s3:{name}"] = [str(value)]
    return {name.lower(): values for name, values in keys.items()}
