"""What goes into the form of a job from outside: a definition that is to be changed, and what a service refused."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from portal.core.errors import OrcaError
from portal.pipelines.services import LIMITS
from portal.web.job_form import CORNERS, SHARD_FIELDS, JobForm
from portal.web.job_words import conditions_text, corners, instant, pairs_text

# Where what a service says about a part of a submission is shown; else under the part's last or first name.
_PLACES = {
    "data.url": "url",
    "data.prefix": "key_prefix",
    "data.urls": "urls",
    "data.time": "since",
    "data.time.0": "since",
    "data.time.1": "until",
    "data.bbox": "west",
    "data.query": "query",
    "data.limit": "limit",
    "shards.by": "by",
    "shards.number": "shard_number",
    "container": "container",
    "container.image": "image",
    "container.dockerfile": "dockerfile",
    "retries.count": "retries",
}


def place_of(part: str, kind: str = "stac", text: str = "") -> str:
    """The form's field in which a part of a submission (``data.bbox.1``, ``limits.seconds``) was typed.

    ``text`` is what is said of it: of all limits at once, it begins with the one that is meant.
    """
    if part == "limits" and text.partition(" ")[0] in LIMITS:
        return text.partition(" ")[0]
    found = part
    while found and found not in _PLACES:
        found = found.rpartition(".")[0]
    if found == "data.url" and kind == "bucket":
        return "key_prefix"
    if found:
        return _PLACES[found]
    if part == "data":
        return {"stac": "url", "bucket": "key_prefix", "urls": "urls", "job": "input_job"}.get(kind, "url")
    head, _, rest = part.partition(".")
    return rest.partition(".")[0] if head in {"data", "limits", "shards"} and rest else head


def refuse(form: JobForm, error: OrcaError) -> None:
    """Put what a service refused beside the fields that it concerns, else above the form."""
    kind, homeless = str(form["kind"].value()), []
    for part, text in error.fields.items():
        name = place_of(part, kind, text)
        if name in form.fields:
            form.add_error(name, text[:1].upper() + text[1:])
        else:
            homeless.append(f"{part}: {text}" if part else text)
    if homeless or not error.fields:
        form.add_error(None, " ".join(filter(None, [*(homeless or [error.message]), error.hint])))


def initial_of(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A job's definition as the form shows it, to be changed and submitted again."""
    data = definition.get("data") or {}
    container = definition.get("container") or {}
    shards, limits = definition.get("shards") or {}, definition.get("limits") or {}
    time = data.get("time") or ["", ""]
    kind = "job" if definition.get("input_job") else data.get("kind", "stac")
    where = data.get("url") if kind == "bucket" else None
    return {
        "name": definition.get("name", ""),
        "arguments": shlex.join(definition.get("arguments") or []),
        "environment": pairs_text(definition.get("environment") or {}),
        "secrets": " ".join(definition.get("secrets") or []),
        "container": "image" if container.get("image") else "dockerfile" if container else "none",
        "image": container.get("image") or JobForm.base_fields["image"].initial,
        "dockerfile": container.get("dockerfile") or "Dockerfile",
        "network": container.get("network", False),
        "kind": kind,
        "url": data.get("url", "") if kind == "stac" else "",
        "key_prefix": where or data.get("prefix", ""),
        "pattern": data.get("pattern", ""),
        "urls": "\n".join(data.get("urls") or []),
        "requester_pays": data.get("requester_pays", False),
        "collections": ", ".join(data.get("collections") or []),
        "query": conditions_text(data.get("query") or {}),
        "assets": ", ".join(data.get("assets") or []),
        "limit": data.get("limit"),
        **dict(zip(CORNERS, corners(data.get("bbox") or []), strict=True)),
        **{name: "" if text == ".." else instant(text) for name, text in zip(("since", "until"), time, strict=True)},
        "input_job": definition.get("input_job") or "",
        "nodes": definition.get("nodes", 1),
        "by": shards.get("by") or "count",
        **{name: shards.get(key) for key, name in SHARD_FIELDS.items()},
        "retries": (definition.get("retries") or {}).get("count"),
        **{key: value for key, value in limits.items() if LIMITS.get(key, (None,))[0] != value},
        "budget": definition.get("budget") or "",
        "keep_days": definition.get("keep_days"),
    }
