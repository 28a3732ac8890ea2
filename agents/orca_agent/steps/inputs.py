"""What earlier steps have left, fetched for a step before it starts."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Final, List, Sequence, Set
from urllib.parse import urlsplit

from agents.orca_agent.cloud.bucket import Bucket, Links
from agents.orca_agent.cloud.errors import CloudError, Missing
from agents.orca_agent.fields import Fields, Malformed, load_object
from agents.orca_agent.orders import MAX_PATH, Input
from agents.orca_agent.steps import transfer
from agents.orca_agent.steps.transfer import Check, Count, Fetch, Fetched, Source, at_once, failed, make_folder

MAX_URL: Final = 8_192
MAX_MANIFEST: Final = 64 * 1024 * 1024  # ten thousand links of temporary credentials are 20


def fetch(
    inputs: Sequence[Input], folder: Path, bucket: Bucket, links: Links, *, room: int, check: Check, count: Count
) -> Fetched:
    """Fetch all inputs into ``folder``, one folder for each step; the rest as `transfer.fetch_all`."""
    found = at_once([partial(_sources, given, bucket, links, check, count) for given in inputs], check)
    for given, some in zip(inputs, found):
        _require(given, {source.path for source in some})
    sources = [source for some in found for source in some]
    done = transfer.fetch_all(sources, folder, room=room, check=check, count=count)
    for given in inputs:
        make_folder(folder / given.step)
    return done


def _sources(given: Input, bucket: Bucket, links: Links, check: Check, count: Count) -> List[Source]:
    try:
        if given.manifest:
            return _listed(given, bucket, links, count)
        return _stored(given, bucket, check) if given.prefix else []
    except (Malformed, CloudError) as error:
        if isinstance(error, Missing) and given.manifest:
            raise failed(f"The list of what step {given.step} has left is not there.") from error
        raise failed(f"What step {given.step} has left cannot be listed: {error}") from error


def _require(given: Input, there: Set[str]) -> None:
    missing = [path for path in given.files if f"{given.step}/{path}" not in there]
    if missing:
        raise failed(f"Step {given.step} has left no {', '.join(map(repr, missing[:10]))}, which this step needs.")


def _stored(given: Input, bucket: Bucket, check: Check) -> List[Source]:
    """What lies below a prefix. An object whose name ends with a slash stands for a folder, in consoles."""
    sources: List[Source] = []
    for found in bucket.list(given.prefix):
        check()
        path = found.key[len(given.prefix) :]
        if not found.key.startswith(given.prefix):
            raise Malformed(f"{found.key!r} was not asked for")
        if path and not (path.endswith("/") and found.size == 0):
            sources.append(_source(given, path, found.size, partial(bucket.fetch, found.key), own=True))
        if len(sources) > transfer.MAX_FILES:
            break
    return sources


def _source(given: Input, path: str, size: int, fetch: Fetch, *, own: bool) -> Source:
    return Source(f"{path!r} of step {given.step}", f"{given.step}/{path}", size, fetch, own=own)


def _listed(given: Input, bucket: Bucket, links: Links, count: Count) -> List[Source]:
    def source(fields: Fields) -> Source:
        url = fields.text("url", limit=MAX_URL)
        if not url.isascii() or not url.isprintable() or " " in url:
            raise Malformed(f"{fields.where}.url is not an address")
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            raise Malformed(f"{fields.where}.url is not an address of a web server")
        path = fields.text("path", limit=MAX_PATH)
        return _source(given, path, fields.integer("size"), partial(links.fetch, url), own=False)

    body = io.BytesIO()
    bucket.download(given.manifest, body, limit=MAX_MANIFEST)
    count(len(body.getvalue()), True)
    document = load_object(body.getvalue(), "manifest")
    return list(document.objects("files", source, limit=transfer.MAX_FILES))
