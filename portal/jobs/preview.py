"""What a job would work on, before it is submitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from portal.accounts.models import User


@dataclass(frozen=True)
class Preview:
    """How many items there are (``more``: at least), their bytes, some of their footprints, and what it would cost.

    ``footprints`` are ``{"id", "bbox", "geometry", "datetime", "thumbnail"}``; amounts are nano-dollars.
    """

    items: int
    bytes: int
    more: bool = False
    shards: int = 0
    footprints: list[dict[str, Any]] = field(default_factory=list)
    bbox: list[float] | None = None
    estimate: int | None = None
    estimate_most: int | None = None


def preview(*, owner: User, submission: Mapping[str, Any]) -> Preview:
    """Look for the items of a submission, for a short while. Raises ``Invalid``, ``CloudFault``."""
    return Preview(items=0, bytes=0)
