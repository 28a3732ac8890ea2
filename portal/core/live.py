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

import redis
import redis.asyncio
from django.conf import settings
from django.db import transaction

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


async def changes(*topics: str) -> AsyncIterator[str | None]:
    """Yield a topic when it may have changed, ``None`` when listening begins and every ``TICK`` seconds of silence.

    Never ends by itself. What changes after the first ``None`` is not missed.
    """
    if not settings.REDIS_URL:
        yield None
        while True:
            await asyncio.sleep(BLIND_TICK)
            yield topics[0]
    client = redis.asyncio.Redis.from_url(settings.REDIS_URL)
    try:
        async with client.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(*(_PREFIX + topic for topic in topics))
            yield None
            while True:
                message = await subscription.get_message(timeout=TICK)
                yield None if message is None else message["channel"].decode().removeprefix(_PREFIX)
    except redis.RedisError as error:
        logger.warning("live notices cannot be heard: %s", error)
        await asyncio.sleep(BLIND_TICK)
        yield topics[0]
    finally:
        with contextlib.suppress(redis.RedisError):
            await client.aclose()
