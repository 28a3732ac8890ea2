"""What data a person means, checked: against the published schema first, then for what no schema can say."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator

from portal.core.errors import Invalid
from portal.pipelines.definitions import told

KINDS: Final = ("stac", "bucket", "urls")
LIMIT: Final = 10_000

# Of these the schema's own words help nobody.
_MEANT: Final = {
    "data.bbox": "Write two opposite corners as four numbers of degrees: west, south, east, north.",
    "data.time": "Write two instants in ISO 8601 with time zone, the earlier first.",
}

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Description:
    """What is searched. ``box``: west, south, east, north; west above east lies over the antimeridian.

    ``begin`` and ``end`` are in UTC and both included. ``query``: comparisons by property, ``{"eq": 1}`` and so on.
    """

    kind: str
    url: str = ""
    prefix: str = ""
    pattern: str = ""
    urls: tuple[str, ...] = ()
    box: Box | None = None
    begin: datetime | None = None
    end: datetime | None = None
    collections: tuple[str, ...] = ()
    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    limit: int = LIMIT
    assets: tuple[str, ...] = ()
    requester_pays: bool = False

    def normal(self) -> dict[str, Any]:
        """The description as JSON, with what was left out; ``checked`` makes the same of it again."""
        if self.kind == "urls":
            return {"kind": "urls", "urls": list(self.urls), "requester_pays": self.requester_pays}
        found: dict[str, Any] = {"kind": self.kind, "limit": self.limit, "requester_pays": self.requester_pays}
        if self.kind == "bucket":
            found |= {"url": self.url} if self.url else {"prefix": self.prefix}
            return found | ({"pattern": self.pattern} if self.pattern else {})
        found |= {"url": self.url, "query": {name: dict(tests) for name, tests in self.query.items()}}
        found |= {"collections": list(self.collections)}
        if self.box:
            found["bbox"] = list(self.box)
        if self.begin or self.end:
            found["time"] = [each.isoformat() if each else ".." for each in (self.begin, self.end)]
        return found | ({"assets": list(self.assets)} if self.assets else {})


@cache
def schema() -> Mapping[str, Any]:
    """The JSON Schema of a data description."""
    found: Mapping[str, Any] = json.loads((Path(__file__).parent.parent / "data.schema.json").read_text())
    return found


@cache
def _validator(kind: str) -> Draft202012Validator:
    """Of one kind alone: of alternatives, JSON Schema can only say that none fits."""
    return Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": schema()["$defs"]})


def checked(data: Mapping[str, Any]) -> Description:
    """The description that ``data`` is. Raises ``Invalid`` with every field that is wrong, as ``data.bbox``."""
    if not isinstance(data, Mapping):
        _refuse("data", "This must be names with values.")
    if data.get("kind") not in KINDS:
        _refuse("data.kind", "This must be one of stac, bucket, urls.")
    wrong = _misshapen(data)
    _require(wrong)
    if not all(map(math.isfinite, _numbers(data.get("bbox", [])))):
        _refuse("data.bbox", "These must be numbers of degrees.")
    found = Description(
        kind=data["kind"],
        url=data.get("url", "").strip(),
        prefix=data.get("prefix", ""),
        pattern=data.get("pattern", ""),
        urls=tuple(data.get("urls", ())),
        box=_box(data["bbox"], wrong) if "bbox" in data else None,
        **_span(data["time"], wrong) if "time" in data else {},
        collections=tuple(dict.fromkeys(data.get("collections", ()))),
        query={name: test if isinstance(test, dict) else {"eq": test} for name, test in data.get("query", {}).items()},
        limit=len(data["urls"]) if "urls" in data else data.get("limit", LIMIT),
        assets=tuple(dict.fromkeys(data.get("assets", ()))),
        requester_pays=data.get("requester_pays", False),
    )
    _check_places(found, wrong)
    _require(wrong)
    return found


def _misshapen(data: Mapping[str, Any]) -> dict[str, str]:
    """What the schema finds wrong, by field."""
    wrong = {}
    for error in _validator(data["kind"]).iter_errors(dict(data)):
        for path, message in told(error):
            wrong[".".join(("data", *map(str, path)))] = message
    for name, message in _MEANT.items():
        if any(each == name or each.startswith(f"{name}.") for each in wrong):
            wrong = {each: text for each, text in wrong.items() if not each.startswith(name)} | {name: message}
    return wrong


def _check_places(found: Description, wrong: dict[str, str]) -> None:
    if found.kind == "stac":
        _check_url(found.url, "data.url", wrong, {"http", "https", "s3"})
    elif found.kind == "bucket" and found.url:
        if found.prefix:
            wrong["data.prefix"] = "Say either prefix (in the workspace's own bucket) or url (s3://bucket/prefix)."
        _check_url(found.url, "data.url", wrong, {"s3"})
    elif found.kind == "bucket" and found.requester_pays:
        wrong["data.requester_pays"] = "The workspace's own bucket is paid by itself: leave this out."
    for number, url in enumerate(found.urls):
        _check_url(url, f"data.urls.{number}", wrong, {"http", "https", "s3"})
    if found.urls and len(set(found.urls)) < len(found.urls):
        wrong["data.urls"] = "An address is there twice."


def _check_url(url: str, name: str, wrong: dict[str, str], schemes: set[str]) -> None:
    try:
        parts = urlsplit(url)
        sound = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound or parts.scheme not in schemes or any(c.isspace() or not c.isprintable() for c in url):
        wanted = " or ".join(f"{each}://" for each in sorted(schemes))
        wrong[name] = f"This is no address that begins with {wanted}."
    elif parts.username is not None or parts.password is not None:
        wrong[name] = "An address must not hold a user's name or password: it is kept and shown."


def _box(given: list[Any], wrong: dict[str, str]) -> Box:
    west, south, east, north = _numbers(given)
    if south > north:
        wrong["data.bbox"] = (
            f"The box is upside down: it begins at latitude {south:g}, above its end at {north:g}. "
            "Write west, south, east, north."
        )
    elif not (south >= -90 and north <= 90):
        wrong["data.bbox"] = "A latitude lies between -90 and 90. Write west, south, east, north."
    elif not (-180 <= west <= 180 and -180 <= east <= 180):
        wrong["data.bbox"] = (
            "A longitude lies between -180 and 180. For a box over the antimeridian write a west above its east, "
            "such as 170, -20, -170, 20."
        )
    return west, south, east, north


def _numbers(given: list[Any]) -> list[float]:
    """The numbers of two corners, written as four or as two pairs."""
    numbers = [each for part in given for each in (part if isinstance(part, list) else [part])]
    # A whole number of JSON may be too large for Python's float.
    return [float(each) if abs(each) < 1e9 else math.inf for each in numbers]


def _span(given: list[str], wrong: dict[str, str]) -> dict[str, datetime | None]:
    begin, end = (_instant(text, index, wrong) for index, text in enumerate(given))
    if begin and end and begin > end:
        wrong["data.time"] = "The time is reversed: it begins after its end. Write the earlier instant first."
    return {"begin": begin, "end": end}


def _instant(text: str, index: int, wrong: dict[str, str]) -> datetime | None:
    if text == "..":
        return None
    name = f"data.time.{index}"
    try:
        found = datetime.fromisoformat(text)
        utc = found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        wrong[name] = "This is no instant in ISO 8601: write it like 2020-01-31T00:00:00Z."
        return None
    if utc is None:
        wrong[name] = f"This has no time zone: write {text if 'T' in text else f'{text}T00:00:00'}Z for UTC."
    return utc


def _require(wrong: Mapping[str, str]) -> None:
    if wrong:
        name, message = next(iter(wrong.items()))
        raise Invalid(f"The description of the data cannot be used: {name}: {message}", fields=wrong)


def _refuse(name: str, message: str) -> NoReturn:
    _require({name: message})
    raise AssertionError


def meant(word: str, known: list[str]) -> str:
    """The known word that is nearest to one that is not."""
    near = difflib.get_close_matches(word, known, n=1)
    return f" Do you mean {near[0]}?" if near else ""
