"""The items of a shard, fetched for a step before it starts.

The lines come from catalogues of strangers: their names are made safe, their addresses only read from.

    images/<item>/<file>     what belongs to an item
    metadata/<item>.json     the item's line, and ``files``: which asset lies where
"""

from __future__ import annotations

import io
import json
import mimetypes
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Final, List, Mapping, Set
from urllib.parse import quote, unquote, urlsplit

from agents.orca_agent.cloud.bucket import Bucket, Links
from agents.orca_agent.cloud.errors import CloudError, Missing
from agents.orca_agent.fields import Fields, Malformed, load_object, safe_name
from agents.orca_agent.orders import MAX_PATH, Data
from agents.orca_agent.steps import transfer
from agents.orca_agent.steps.transfer import (
    Check,
    Count,
    Fetch,
    Fetched,
    Source,
    failed,
    make_folder,
    patiently,
    require_room,
)

TIMES: Final = 5
"""Servers of the world are less steady than a cloud's own."""
MAX_ID: Final = 1_024
MAX_ASSETS: Final = 1_000
MAX_URL: Final = 8_192
URL_MARKS: Final = "%/:=&?~#+!$,;'@()*[]"
CONTROL: Final = "control/"
SIGNED: Final = ("signature=", "x-amz-", "sig=")
TOLD: Final = 10


@dataclass
class _Shard:
    """What its lines ask for; ``room``: bytes that all of it may take."""

    folder: Path
    bucket: Bucket
    links: Links
    room: int
    items: Set[str] = field(default_factory=set)
    sources: List[Source] = field(default_factory=list)
    announced: Dict[str, int] = field(default_factory=dict)
    """Sizes that were said to be, by path: a catalogue may be wrong."""
    most: int = 0
    """All of those sizes together."""
    written: int = 0


def fetch(
    data: Data,
    folder: Path,
    bucket: Bucket,
    links: Links,
    *,
    room: int,
    check: Check,
    count: Count,
    say: Callable[[str], object],
) -> Fetched:
    """Fetch the items of ``data`` into ``folder``, which must exist; the rest as `transfer.fetch_all`.

    ``say`` is told of what is not as the list says.
    """
    shard = _Shard(folder, bucket, links, room)
    for name in ("images", "metadata"):
        make_folder(folder / name)
    for number, line in enumerate(_lines(data, bucket, check, count), 1):
        check()
        try:
            _read(load_object(line, f"item {number}"), shard)
        except Malformed as error:
            raise failed(f"The list of its items makes no sense: {error}.") from error
    done = transfer.fetch_all(shard.sources, folder, room=room - shard.written, check=check, count=count)
    _compare(shard, say)
    return Fetched(done.files, done.bytes + shard.written)


def _lines(data: Data, bucket: Bucket, check: Check, count: Count) -> List[bytes]:
    """The lines of the slice, which must be whole and as many as was said."""
    if not data.length:
        return []
    body = io.BytesIO()
    try:
        ask = partial(bucket.fetch, data.key, body, start=data.offset, length=data.length)
        patiently(ask, check)
    except Missing as error:
        raise failed("The list of its items is not there.") from error
    except CloudError as error:
        raise failed(f"The list of its items could not be fetched: {error}") from error
    content = body.getvalue()
    count(len(content), True)
    lines = [line for line in content.split(b"\n") if line.strip()]
    if len(content) != data.length or len(lines) != data.items:
        raise failed(
            f"The list of its items is not what it was any more: {len(lines)} of {data.items} items, "
            f"{len(content)} of {data.length} bytes."
        )
    return lines


def _read(item: Fields, shard: _Shard) -> None:
    """Note what is to be fetched for one item, and write what is known of it."""
    name = item.text("id", limit=MAX_ID)
    place = _unique(safe_name(name), shard.items)
    taken: Set[str] = set()
    files: Dict[str, str] = {}
    assets = item.children("assets", limit=MAX_ASSETS, length=200)
    for key, asset in assets.items():
        address = _address(asset)
        file = Path(_file_name(address, key, asset))
        path = f"images/{place}/{_unique(file.stem, taken, file.suffix)}"
        files[key] = path
        what = f"Asset {key!r} of item {name[:200]!r} ({_shown(address)})"
        fetch = _fetch(asset, address, shard)
        shard.sources.append(Source(what, path, None, fetch, TIMES, own=asset.has("key")))
        if asset.has("size"):
            shard.announced[path] = asset.integer("size")
            shard.most += shard.announced[path]
    require_room(shard.most, shard.room)
    _write(shard, place, {**item.plain(), "assets": {key: _public(asset) for key, asset in assets.items()}}, files)


def _address(asset: Fields) -> str:
    """Where it is: a key in the own bucket, or an ASCII URL. Raises `Malformed`."""
    if asset.has("key"):
        return _key(asset)
    url = quote(asset.text("href", limit=MAX_URL).strip(), safe=URL_MARKS)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc
        usable = usable and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise Malformed(f"{asset.where}.href is not an address of a web server: {url[:200]!r}")
    return url


def _key(asset: Fields) -> str:
    """Any that a bucket can have, but none of those that tell instances what to do."""
    key = asset.text("key", limit=MAX_PATH)
    if not key or key.startswith(CONTROL) or {".", ".."} & set(key.split("/")):
        raise Malformed(f"{asset.where}.key is no file of the workspace's: {key[:200]!r}")
    return key


def _fetch(asset: Fields, address: str, shard: _Shard) -> Fetch:
    if asset.has("key"):
        return partial(shard.bucket.fetch, address)
    return partial(shard.links.fetch, address, most=shard.room)


def _file_name(address: str, key: str, asset: Fields) -> str:
    """The last part of its address, else its key; with a suffix, where its type tells one."""
    path = urlsplit(address).path if not asset.has("key") else quote(address)
    name = safe_name(unquote(path.rpartition("/")[2]) or key)
    if "." not in name.strip(".") and asset.has("type"):
        kind = asset.text("type", limit=200).partition(";")[0].strip()
        name = safe_name(name + (mimetypes.guess_extension(kind) or ""))
    return name


def _unique(stem: str, taken: Set[str], suffix: str = "") -> str:
    """The name that these make, numbered where it is taken."""
    found, number = stem + suffix, 1
    while found in taken:
        number += 1
        found = f"{stem}-{number}{suffix}"
    taken.add(found)
    return found


def _shown(address: str) -> str:
    """Without what may be a permission."""
    return address.partition("?")[0][:500]


def _public(asset: Fields) -> Mapping[str, Any]:
    """What the program is told of an asset: no address that carries a permission of its own."""
    plain = dict(asset.plain())
    href = plain.get("href")
    if isinstance(href, str) and any(mark in href.partition("?")[2].lower() for mark in SIGNED):
        plain["href"] = href.partition("?")[0]
    return plain


def _write(shard: _Shard, place: str, document: Mapping[str, Any], files: Mapping[str, str]) -> None:
    try:
        content = json.dumps({**document, "files": files}, indent=1).encode()
    except RecursionError as error:
        raise Malformed(f"{place} is nested too deeply") from error
    path = shard.folder / "metadata" / f"{place}.json"
    shard.written += len(content)
    if shard.written > shard.room:
        raise failed(f"The metadata of its items takes more than the {shard.room / transfer.MB:.1f} MB of the disk.")
    try:
        path.write_bytes(content)
        path.chmod(0o444)
    except OSError as error:
        raise failed(f"The metadata of item {place!r} cannot be stored: {error.strerror}.") from error
    make_folder(shard.folder / "images" / place)


def _compare(shard: _Shard, say: Callable[[str], object]) -> None:
    told = 0
    for source in shard.sources:
        size = shard.announced.get(source.path)
        if size is None or told >= TOLD:
            continue
        found = (shard.folder / source.path).stat().st_size
        if found != size:
            told += 1
            say(f"{source.what} has {found} bytes; its catalogue said {size}.")
