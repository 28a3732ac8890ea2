"""S3: ListBuckets shows each caller the buckets that it may list.

AWS would refuse a caller without s3:ListAllMyBuckets; here ``aws s3 ls`` with a person's credentials shows just that
person's bucket. A caller with neither permission sees an empty list.
"""

from __future__ import annotations

from typing import Any

from moto.s3.models import S3Backend

from agents.local_cloud.access.decisions import permitted
from agents.local_cloud.access.enforcement import Enforcement, current
from agents.local_cloud.access.policies import Request
from agents.local_cloud.patching import replace


def apply(enforcement: Enforcement) -> None:
    """Put the mend in place."""
    original = S3Backend.list_buckets

    def list_buckets(backend: S3Backend, *args: Any, **options: Any) -> list[Any]:
        buckets = original(backend, *args, **options)
        call = current()
        if call is None or permitted(call.caller, Request("s3:ListAllMyBuckets", "*", call.context)):
            return buckets
        return [bucket for bucket in buckets if enforcement.may_list(call.caller, bucket.name, call.context)]

    replace(S3Backend, "list_buckets", list_buckets)
