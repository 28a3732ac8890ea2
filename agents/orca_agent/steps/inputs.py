"""What earlier steps have left, fetched for a step before it starts.

Names and addresses come from buckets that others write to: no name leads out of the step's folder, an address is only
read from, and nothing is fetched for which the disk has no room. A large file comes in parts: where a connection
breaks, a part is asked for again, not the file.
"""

from __future__ import annotations

import io
import os
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Final, List, Protocol, Sequence, Set, TypeVar
from urllib.parse import urlsplit

from agents.orca_agent.cloud.bucket import Bucket, Links
from agents.orca_agent.cloud.client import backoff
from agents.orca_agent.cloud.errors import CloudError, Missing
from agents.orca_agent.cloud.transport import FilePart, Target
from agents.orca_agent.events import Reason
from agents.orca_agent.fields import Fields, Malformed, clean, load_object, relative_path
from agents.orca_agent.orders import MAX_PATH, Input
from agents.orca_agent.steps.failure import StepFailed

AT_ONCE: Final = 8
PART: Final = 16 * 1024 * 1024
TIMES: Final = 3
MAX_FILES: Final = 100_000
MAX_URL: Final = 8_192
MAX_MANIFEST: Final = 64 * 1024 * 1024  # ten thousand links of temporary credentials are 20
MAX_NAME: Final = 255  # bytes, of Linux
LOOK_EVERY: Final = 0.1
MB: Final = 1024 * 1024

T = TypeVar("T")
Check = Callable[[], object]


class Fetch(Protocol):
    """Bytes ``start`` to ``start + length`` of one object; returns how many it has in all."""

    def __call__(self, into: Target, *, start: int, length: int) -> int: ...


@dataclass(frozen=True)
class Source:
    """A file to be fetched: ``path`` is relative to its step's folder."""

    step: str
    path: str
    size: int
    fetch: Fetch


@dataclass(frozen=True)
class Fetched:
    """How much has come."""

    files: int = 0
    bytes: int = 0


def fetch(inputs: Sequence[Input], folder: Path, bucket: Bucket, links: Links, *, room: int, check: Check) -> Fetched:
    """Fetch all inputs into ``folder``, which must exist, one folder for each step. ``room``: bytes that they may take.

    ``check`` is called often, and raises to break it off. What arrives is the agent's own and can be read by everybody
    who may pass through to ``folder``. Raises `StepFailed`.
    """
    found = _at_once([partial(_sources, given, bucket, links, check) for given in inputs], check)
    for given, some in zip(inputs, found):
        _require(given, {source.path for source in some})
    sources = [source for some in found for source in some]
    total = sum(source.size for source in sources)
    if len(sources) > MAX_FILES:
        raise _failed(f"Its inputs are {len(sources)} files; at most {MAX_FILES} are fetched.")
    if total > room:
        raise _failed(f"Its inputs take {total / MB:.1f} MB; the disk has room for {max(0, room) / MB:.1f} MB.")
    for given in inputs:
        _folder(folder / given.step)
    paths = [_create(folder, source) for source in sources]
    jobs: List[Callable[[], None]] = []
    for source, path in zip(sources, paths):
        for start in range(0, source.size, PART):
            jobs.append(partial(_fetch_part, source, path, start, check))
    _at_once(jobs, check)
    for path in paths:
        path.chmod(0o444)
    return Fetched(len(sources), total)


def _at_once(jobs: Sequence[Callable[[], T]], check: Check) -> List[T]:
    """The results, in order; the first error ends it."""
    if not jobs:
        return []
    check()
    pool = ThreadPoolExecutor(min(AT_ONCE, len(jobs)), "input")
    try:
        futures = [pool.submit(job) for job in jobs]
        pending = set(futures)
        while pending:
            done, pending = wait(pending, LOOK_EVERY, FIRST_EXCEPTION)
            check()
            for future in done:
                future.result()
        return [future.result() for future in futures]
    finally:
        # A thread that hangs on a dead connection is not waited for: it finds its file gone.
        pool.shutdown(wait=False, cancel_futures=True)


def _sources(given: Input, bucket: Bucket, links: Links, check: Check) -> List[Source]:
    try:
        if given.manifest:
            return _listed(given, bucket, links)
        return _stored(given, bucket, check) if given.prefix else []
    except (Malformed, CloudError) as error:
        if isinstance(error, Missing) and given.manifest:
            raise _failed(f"The list of what step {given.step} has left is not there.") from error
        raise _failed(f"What step {given.step} has left cannot be listed: {error}") from error


def _require(given: Input, there: Set[str]) -> None:
    missing = [path for path in given.files if path not in there]
    if missing:
        raise _failed(f"Step {given.step} has left no {', '.join(map(repr, missing[:10]))}, which this step needs.")


def _stored(given: Input, bucket: Bucket, check: Check) -> List[Source]:
    """What lies below a prefix. An object whose name ends with a slash stands for a folder, in consoles."""
    sources: List[Source] = []
    for found in bucket.list(given.prefix):
        check()
        path = found.key[len(given.prefix) :]
        if not found.key.startswith(given.prefix):
            raise Malformed(f"{found.key!r} was not asked for")
        if path and not (path.endswith("/") and found.size == 0):
            sources.append(Source(given.step, path, found.size, partial(bucket.fetch, found.key)))
        if len(sources) > MAX_FILES:
            break
    return sources


def _listed(given: Input, bucket: Bucket, links: Links) -> List[Source]:
    def source(fields: Fields) -> Source:
        url = fields.text("url", limit=MAX_URL)
        if not url.isascii() or not url.isprintable() or " " in url:
            raise Malformed(f"{fields.where}.url is not an address")
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            raise Malformed(f"{fields.where}.url is not an address of a web server")
        path = fields.text("path", limit=MAX_PATH)
        return Source(given.step, path, fields.integer("size"), partial(links.fetch, url))

    body = io.BytesIO()
    bucket.download(given.manifest, body, limit=MAX_MANIFEST)
    document = load_object(body.getvalue(), "manifest")
    return list(document.objects("files", source, limit=MAX_FILES))


def _create(folder: Path, source: Source) -> Path:
    """The empty file into which the source will go. Its folders belong to the agent: nobody puts a link in the way."""
    try:
        path = relative_path(clean(source.path, "its name", MAX_PATH), "its name")
        if any(len(part.encode()) > MAX_NAME for part in path.split("/")):
            raise Malformed(f"its name has a part of more than {MAX_NAME} bytes")
    except Malformed as error:
        raise _failed(f"Step {source.step} has left {source.path!r}, which cannot be a file here: {error}.") from error
    target = folder / source.step / path
    try:
        _folder(target.parent)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644))
    except (FileExistsError, NotADirectoryError) as error:
        message = f"Step {source.step} has left two things of which one is in the other's place: {source.path!r}."
        raise _failed(message) from error
    except OSError as error:
        raise _failed(f"{source.path!r} of step {source.step} cannot be stored: {error.strerror}.") from error
    return target


def _folder(path: Path) -> None:
    """Make it, with those above it, so that everybody can read it."""
    made: List[Path] = []
    while not path.is_dir():
        made.append(path)
        path = path.parent
    for one in reversed(made):
        one.mkdir()
        one.chmod(0o755)


def _fetch_part(source: Source, path: Path, start: int, check: Check) -> None:
    length = min(PART, source.size - start)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            part = FilePart(descriptor, start, check)
            whole = _patiently(partial(source.fetch, part, start=start, length=length), check)
        finally:
            os.close(descriptor)
    except (CloudError, OSError) as error:
        raise _failed(f"{source.path!r} of step {source.step} could not be fetched: {error}") from error
    if whole != source.size or part.written != length:
        raise _failed(f"{source.path!r} of step {source.step} is not what it was any more: its size has changed.")


def _patiently(fetch: Callable[[], int], check: Check) -> int:
    """Each time is several attempts already; between them nobody could break it off."""
    for times in range(1, TIMES):
        check()
        try:
            return fetch()
        except CloudError as error:
            if not error.retryable:
                raise
            time.sleep(backoff(times))
    check()
    return fetch()


def _failed(message: str) -> StepFailed:
    return StepFailed(Reason.INPUT_FAILED, message)
