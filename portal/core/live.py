"""News for open pages: who changes something says so, who shows it waits for that.

The database stays the truth; a notice only says that looking again is worth it, so a lost notice costs at most one
``TICK``. With Redis notices cross processes in about a millisecond; without it pages look again every half second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from functools import cache
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from django.conf import settings
from django.db import transaction
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)
TICK = 5.0
BLIND_TICK = 0.5
_PREFIX = "orca:live:"


@cache
def _publisher() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)


def publish(topics: Iterable[str]) -> None:
    """Tell whoever shows one of ``topics`` (``run:<id>``, ``workspace:<id>``, ``owner:<id>``) to look again."""
    if not settings.REDIS_URL:
        return
    try:
        pipe = _publisher().pipeline(transaction=False)
        for topic in dict.fromkeys(topics):
            pipe.publish(_PREFIX + topic, "1")
        pipe.execute()
    except redis.RedisError as error:
        logger.warning("live notice not sent: %s", error)


def publish_on_commit(*topics: str) -> None:
    """The same, once what was changed can be seen by others."""
    transaction.on_commit(lambda: publish(topics))


class _Ear:
    """All that one event loop hears of Redis, over one connection, whoever listens and to whatever."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[asyncio.Queue[str | None]]] = {}
        self.listening = asyncio.Event()
        self.closed = False
        self._task = asyncio.create_task(self._hear())

    def join(self, topics: Iterable[str]) -> asyncio.Queue[str | None]:
        """Where these topics come from now on as they change; ``None`` says that no more will come."""
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        for topic in topics:
            self._listeners.setdefault(topic, set()).add(queue)
        return queue

    def leave(self, topics: Iterable[str], queue: asyncio.Queue[str | None]) -> None:
        """Nobody waits there any more."""
        for topic in topics:
            left = self._listeners[topic]
            left.discard(queue)
            if not left:
                del self._listeners[topic]

    async def _hear(self) -> None:
        client = redis.asyncio.Redis.from_url(settings.REDIS_URL, retry=Retry(NoBackoff(), 0))
        try:
            async with client.pubsub() as subscription:
                await subscription.psubscribe(_PREFIX + "*")
                while not self.closed:
                    message = await subscription.get_message(timeout=TICK)
                    if message is None:
                        self.closed = not self._listeners
                    elif message["type"] == "psubscribe":
                        self.listening.set()
                    else:
                        topic = message["channel"].decode().removeprefix(_PREFIX)
                        for queue in self._listeners.get(topic, ()):
                            queue.put_nowait(topic)
        except (redis.RedisError, OSError) as error:
            logger.warning("live notices cannot be heard: %s", error)
        finally:
            self.closed = True
            self.listening.set()
            for queue in {queue for queues in self._listeners.values() for queue in queues}:
                queue.put_nowait(None)
            with contextlib.suppress(redis.RedisError, OSError):
                await client.aclose()


_ears: WeakKeyDictionary[asyncio.AbstractEventLoop, _Ear] = WeakKeyDictionary()


def _ear() -> _Ear:
    loop = asyncio.get_running_loop()
    found = _ears.get(loop)
    if found is None or found.closed:
        found = _ears[loop] = _Ear()
    return found


async def changes(*topics: str) -> AsyncIterator[str | None]:
    """Yield a topic when it may have changed, ``None`` when listening begins and every ``TICK`` seconds of silence.

    Ends only where notices cannot be heard any more. What changes after the first ``None`` is not missed.
    """
    if not settings.REDIS_URL:
        yield None
        while True:
            await asyncio.sleep(BLIND_TICK)
            yield topics[0]
    ear = _ear()
    queue = ear.join(topics)
    try:
        await ear.listening.wait()
        if not ear.closed:
            yield None
        while not (ear.closed and queue.empty()):
            try:
                topic = await asyncio.wait_for(queue.get(), TICK)
            except TimeoutError:
                yield None
                continue
            if topic is None:
                break
            yield topic
    finally:
        ear.leave(topics, queue)
    await asyncio.sleep(BLIND_TICK)
    yield topics[0]
