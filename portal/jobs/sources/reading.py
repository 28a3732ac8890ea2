"""Reading a catalogue's documents: from http(s) or S3, again where it may help, or as they were kept."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import uvloop

from portal.core.errors import CloudFault, OrcaError
from portal.gateways import aws_catalogue
from portal.gateways.aws_catalogue import Reach
from portal.gateways.web import Answer, Unread, Web
from portal.jobs.sources.kept import Kept

Found = TypeVar("Found")
MOST_BYTES: Final = 16 * 1024 * 1024
_LONGEST_PAUSE: Final = 30.0
_LOOK_EVERY = 0.2


class TimeUp(OrcaError):
    """The search did not end before its deadline."""

    status = 504
    code = "data_slow"

    def __init__(self) -> None:
        hint = "Ask for less: a smaller box, a shorter time, a part of the catalogue."
        super().__init__("The search for data took too long.", hint=hint)


@dataclass(frozen=True)
class Access:
    """What a search may reach: ``private`` addresses of this network, S3 as ``reach`` says, and documents kept before.

    ``probing``: whether it looks at what it finds in other people's buckets, so that a closed one is told at once.
    ``within``: seconds for one document. ``tries``: how often one is asked for. ``pause``: seconds before the second
    try, twice that before the third. ``pace``: seconds between two requests to an API.
    """

    private: bool = False
    reach: Reach = field(default_factory=lambda: Reach(None, ""))
    kept: Kept | None = None
    probing: bool = False
    at_once: int = 24
    within: float = 20.0
    tries: int = 4
    pause: float = 0.5
    pace: float = 0.05


@dataclass(frozen=True)
class Document:
    """A JSON object and the address that gave it; ``size`` in bytes."""

    url: str
    value: dict[str, Any]
    size: int


class Reader:
    """A context in which documents are read, by a loop of its own that only runs while somebody waits for it.

    ``check`` is called several times a second and may raise; so is the deadline looked at (``time.monotonic``).
    """

    def __init__(self, access: Access, *, check: Callable[[], None] | None, deadline: float | None) -> None:
        self.access = access
        self._check = check
        self._deadline = deadline
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._web = Web(private=access.private, at_once=access.at_once)
        self._not_before = 0.0

    def __enter__(self) -> Self:
        self._runner.__enter__()
        self._runner.run(self._web.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._runner.run(self._closed())
            if self.access.kept:
                self.access.kept.flush()
        finally:
            self._runner.__exit__(None, None, None)

    async def _closed(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._web.__aexit__(None, None, None)

    def run(self, work: Coroutine[Any, Any, Found]) -> Found:
        """What ``work`` gives. Raises ``TimeUp``, and what ``check`` raises."""
        self._look()
        task = self._runner.run(self._begun(work))
        try:
            while not task.done():
                self._look()  # outside the event loop: within one, Django's database does not answer
                self._runner.run(self._waited(task))
            return task.result()
        finally:
            task.cancel()

    async def _begun(self, work: Coroutine[Any, Any, Found]) -> asyncio.Task[Found]:
        task = asyncio.get_running_loop().create_task(work)
        await self._waited(task)
        return task

    async def _waited(self, task: asyncio.Task[Found]) -> None:
        await asyncio.wait({task}, timeout=_LOOK_EVERY)

    def _look(self) -> None:
        if self._check:
            self._check()
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise TimeUp

    async def document(self, url: str) -> Document:
        """The JSON object at an address. Raises ``Unread``."""
        answer = await self.answer(url)
        return Document(answer.url, parsed(answer.body), len(answer.body))

    async def answer(self, url: str, *, method: str = "GET", body: Any = None, keep: bool = True) -> Answer:
        """What an address answers, asked again with growing pauses while that may help. Raises ``Unread``.

        ``keep``: what was read before will do for a while.
        """
        for attempt in range(1, self.access.tries + 1):
            await self._patience()
            try:
                return await self._once(url, method, body, keep=keep)
            except Unread as error:
                if not error.retryable or attempt == self.access.tries:
                    raise
                pause = self.access.pause * 2 ** (attempt - 1) * random.uniform(0.5, 1)  # noqa: S311 -- nothing secret
                if error.answered == 429 or error.retry_after is not None:
                    # Whoever asks for quiet gets it from all of us.
                    pause = min(max(pause, error.retry_after or 0), _LONGEST_PAUSE)
                    self._not_before = max(self._not_before, time.monotonic() + pause)
                else:
                    await asyncio.sleep(pause)
        raise AssertionError

    async def _patience(self) -> None:
        if (left := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(left)

    async def _once(self, url: str, method: str, body: Any, *, keep: bool) -> Answer:
        if url.startswith("s3:"):
            return await self._object(url)
        kept = self.access.kept if keep else None
        old = kept.get(url) if kept else None
        if kept and old and old.fresh:
            return Answer(old.url, old.body, etag=old.etag)
        answer = await self._web.read(
            url, within=self.access.within, method=method, body=body, etag=old.etag if old else "", most=MOST_BYTES
        )
        if answer.same and old:
            answer = Answer(old.url, old.body, etag=old.etag)
        if kept:
            kept.put(url, answer.url, answer.etag, answer.body)
        return answer

    async def _object(self, url: str) -> Answer:
        """An object of S3, read by a thread: boto3 waits."""
        place = aws_catalogue.place(url)
        if place is None or not place.key:
            raise Unread("This is no address of an object.")
        try:
            body = await asyncio.to_thread(aws_catalogue.read, place, self.access.reach, most=MOST_BYTES)
        except CloudFault as error:
            again = error.retryable and error.code != "cloud_absent"
            raise Unread(error.message, code=error.code, hint=error.hint, retryable=again) from error
        return Answer(place.url, body)

    async def length(self, url: str) -> int | None:
        """How many bytes are at an address, where it tells. Raises ``Unread``."""
        if url.startswith("s3:"):
            place = aws_catalogue.place(url)
            try:
                return await asyncio.to_thread(aws_catalogue.size, place, self.access.reach) if place else None
            except CloudFault as error:
                raise Unread(error.message) from error
        return (await self._web.read(url, within=self.access.within, method="HEAD")).length


def parsed(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is. Raises ``Unread``."""
    try:
        found = json.loads(body, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise Unread("It is no JSON.") from error
    if not isinstance(found, dict):
        raise Unread("It is JSON, but no STAC document.")
    return found


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
