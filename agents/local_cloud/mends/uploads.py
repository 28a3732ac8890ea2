"""S3: a completed multipart upload lets go of its parts. moto keeps every byte twice while the object lives."""

from __future__ import annotations

from typing import Any

from moto.s3.models import FakeKey, S3Backend

from agents.local_cloud.patching import replace


def apply() -> None:
    """Put the mend in place."""
    original = S3Backend.complete_multipart_upload

    def complete_multipart_upload(backend: S3Backend, *args: Any, **options: Any) -> FakeKey | None:
        key: FakeKey | None = original(backend, *args, **options)
        if key is not None and key.multipart is not None:
            key.multipart.dispose()
            key.multipart = None
        return key

    replace(S3Backend, "complete_multipart_upload", complete_multipart_upload)
