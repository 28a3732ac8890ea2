"""What a job would work on, before it is submitted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings

from portal.accounts.models import User
from portal.core.errors import Invalid
from portal.jobs import finding, money, sources
from portal.jobs.models import Job
from portal.jobs.splitting import PER_SLOT
from portal.jobs.submission import Submission, submission_check

# Seconds that somebody waits for a preview.
WITHIN: Final = 20.0
_UNNAMED: Final = {"name": "preview"}


@dataclass(frozen=True)
class Preview:
    """How many items there are (``more``: at least), their bytes, some of their footprints, and what it would cost.

    ``sizes``: whether the bytes were ``told``, ``estimated`` or are ``unknown``. ``footprints`` are ``{"id", "bbox",
    "geometry", "datetime", "thumbnail"}``, evenly taken where there are many; ``bbox`` is around all items. Amounts
    are nano-dollars.
    """

    items: int
    bytes: int
    more: bool = False
    sizes: str = "unknown"
    shards: int = 0
    footprints: list[dict[str, Any]] = field(default_factory=list)
    bbox: list[float] | None = None
    begin: str | None = None
    end: str | None = None
    histogram: list[dict[str, Any]] = field(default_factory=list)
    assets: dict[str, int] = field(default_factory=dict)
    collections: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    estimate: int | None = None
    estimate_most: int | None = None


def preview(*, owner: User, submission: Mapping[str, Any]) -> Preview:
    """Look for the items of a submission, for a short while; it need not have a name yet. Raises ``Invalid``."""
    found = submission_check(owner=owner, submission={**_UNNAMED, **submission})
    if found.input_job is not None:
        return _of_outputs(found, found.input_job)
    data = found.definition["data"]
    deadline = time.monotonic() + WITHIN
    seen = sources.preview(sources.checked(data), access=finding.access_of(found.workspace), deadline=deadline)
    warnings = list(seen.warnings)
    if seen.count > settings.MAX_ITEMS:
        warnings.insert(0, f"A job may have {settings.MAX_ITEMS:,} items.")
    return _priced(
        found,
        items=seen.count,
        bytes=seen.bytes,
        more=seen.at_least,
        sizes=seen.sizes,
        footprints=[_footprint(feature) for feature in seen.footprints["features"]],
        bbox=list(seen.extent) if seen.extent else None,
        begin=seen.begin.isoformat() if seen.begin else None,
        end=seen.end.isoformat() if seen.end else None,
        histogram=[{"time": when, "count": count} for when, count in seen.histogram],
        assets=dict(seen.assets),
        collections=dict(seen.collections),
        warnings=warnings,
    )


def _footprint(feature: Mapping[str, Any]) -> dict[str, Any]:
    told = feature["properties"]
    thumbnail = told.get("thumbnail") or None
    about = {"id": feature["id"], "datetime": told.get("datetime"), "thumbnail": thumbnail}
    return {**about, "bbox": None, "geometry": feature["geometry"]}


def _of_outputs(found: Submission, giver: Job) -> Preview:
    if not giver.output_files:
        raise Invalid("That job has left no outputs.", fields={"input_job": "It has no outputs."})
    return _priced(found, items=giver.output_files, bytes=giver.output_bytes, sizes="told")


def _priced(found: Submission, *, items: int, **given: Any) -> Preview:
    """With how many shards it would be, and what they would cost."""
    shards = _shards(found, items)
    likely, most = money.estimated(
        workspace=found.workspace,
        shards=shards,
        definition=found.definition,
        nodes=found.definition["nodes"],
        version=found.version,
    )
    return Preview(items=items, shards=shards, estimate=likely, estimate_most=most, **given)


def _shards(found: Submission, items: int) -> int:
    rules = found.definition["shards"]
    wanted = rules["number"] or PER_SLOT * found.definition["nodes"] * found.workspace.slots
    if rules["most_items"]:
        wanted = max(rules["number"] or 1, -(-items // rules["most_items"]))
    return int(min(items, wanted))
