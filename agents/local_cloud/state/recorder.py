"""Which requests change what: decides after each one what has to be written down before its caller is answered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from moto.s3.models import FakeBucket, s3_backends

from agents.local_cloud.access.enforcement import Call
from agents.local_cloud.access.s3_requests import address, keys_to_delete
from agents.local_cloud.accounts import PARTITION
from agents.local_cloud.state.objects import ObjectLogs
from agents.local_cloud.state.store import Store

_READING = re.compile(
    r"(Describe|List|Get|Head|BatchGet|Lookup|Search|Select|Query|Scan|Simulate|Validate|Test|Estimate|Filter"
    r"|SendMessage|ReceiveMessage|DeleteMessage|ChangeMessageVisibility|PurgeQueue|AssumeRole|Decode)"
)
#: Whose calls change nothing but their own backend. The others reach into their neighbours.
_SELF_CONTAINED = {
    "cloudwatch",
    "dynamodb",
    "ec2",
    "elbv2",
    "iam",
    "kms",
    "logs",
    "secretsmanager",
    "sqs",
    "ssm",
    "sts",
}
#: Services of which each account has one for all regions.
_GLOBAL = {"iam", "sts", "s3", "route53", "cloudfront", "organizations", "budgets", "ce"}


class Recorder:
    """See ``gate.Recorder``."""

    def __init__(self, store: Store, objects: ObjectLogs) -> None:
        self._store = store
        self._objects = objects

    def touched(self, service: str, environ: Mapping[str, Any], call: Call, body: bytes, status: int) -> int:
        """Write down what the request may have changed. The caller holds the lock of ``service``."""
        if service == "s3":
            if status < 400 and environ["REQUEST_METHOD"] not in ("GET", "HEAD", "OPTIONS"):
                return self._s3(environ, call, body)
        elif self._changes(environ, call):
            account = call.caller.account_id
            if service not in _SELF_CONTAINED:
                return self._store.everything_changed()
            return self._store.changed(service, account, PARTITION if service in _GLOBAL else call.region)
        return 0

    def wait(self, number: int) -> None:
        """See ``gate.Recorder``."""
        self._store.wait(number)

    def _changes(self, environ: Mapping[str, Any], call: Call) -> bool:
        if call.action:
            return not _READING.match(call.action)
        return environ["REQUEST_METHOD"] not in ("GET", "HEAD", "OPTIONS")

    def _s3(self, environ: Mapping[str, Any], call: Call, body: bytes) -> int:
        where = address(environ)
        method = environ["REQUEST_METHOD"]
        owner = s3_backends.bucket_accounts.get(where.bucket)
        query = dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
        bucket = s3_backends[owner[1]][owner[0]].buckets.get(where.bucket) if owner else None
        if not where.key and method == "POST" and bucket is not None:
            for key in [call.form_key] if call.form_key else keys_to_delete(body):
                self._objects.key_changed(bucket, key)
        elif not where.key:
            if bucket is None:
                self._objects.bucket_deleted(where.bucket)
            account = owner[1] if owner else call.caller.account_id
            return self._store.changed("s3", account, PARTITION)
        elif bucket is not None:
            self._object(bucket, where.key, method, query)
        return 0

    def _object(self, bucket: FakeBucket, key: str, method: str, query: Mapping[str, str]) -> None:
        upload = query.get("uploadId")
        if upload and method == "PUT":
            self._objects.part_changed(bucket, upload, int(query.get("partNumber", "0")))
            return
        if upload:
            self._objects.upload_changed(bucket, upload)
        elif "uploads" in query:
            newest = [name for name, one in bucket.multiparts.items() if one.key_name == key][-1:]
            for name in newest:
                self._objects.upload_changed(bucket, name)
            return
        if method != "DELETE" or not upload:
            self._objects.key_changed(bucket, key)
