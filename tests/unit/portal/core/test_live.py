"""News for open pages through a real Redis: one connection an event loop, whoever listens and to whatever."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
from pytest_django import Settings

from portal.core import live

SOON = 5.0


@pytest.fixture
def redis_server(tmp_path: Path, settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A Redis on a socket of its own, which the portal uses."""
    socket = tmp_path / "redis.sock"
    process = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    settings.REDIS_URL = f"unix://{socket}"
    live._publisher.cache_clear()
    client = redis.Redis(unix_socket_path=str(socket))
    deadline = time.monotonic() + SOON
    while True:
        try:
            client.ping()
            break
        except redis.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    yield process
    process.terminate()
    process.wait()
    live._publisher.cache_clear()


async def heard(news: AsyncIterator[str | None]) -> str | None:
    return await asyncio.wait_for(anext(news), SOON)


def connections() -> int:
    return len(live._publisher().client_list(_type="pubsub"))


def test_each_page_hears_what_it_listens_to_over_one_connection(redis_server: subprocess.Popen[bytes]) -> None:
    async def scene() -> None:
        run, other = live.changes("run:a", "owner:x"), live.changes("run:b")
        assert [await heard(run), await heard(other)] == [None, None]
        assert connections() == 1
        live.publish(["run:b"])
        live.publish(["owner:x"])
        assert [await heard(run), await heard(other)] == ["owner:x", "run:b"]
        await run.aclose()  # type: ignore[attr-defined]
        live.publish(["run:a", "run:b"])
        assert await heard(other) == "run:b"
        await other.aclose()  # type: ignore[attr-defined]

    asyncio.run(scene())


def test_who_listens_when_redis_goes_away_is_told_to_look_and_can_listen_again(
    redis_server: subprocess.Popen[bytes],
) -> None:
    async def scene() -> list[str | None]:
        news = live.changes("run:a")
        first = await heard(news)
        redis_server.kill()
        return [first, *[found async for found in news]]

    assert asyncio.run(scene()) == [None, "run:a"]


def test_a_portal_without_redis_looks_again_by_itself(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.REDIS_URL = ""
    monkeypatch.setattr(live, "BLIND_TICK", 0.01)

    async def scene() -> list[str | None]:
        news = live.changes("run:a")
        return [await heard(news) for _ in range(3)]

    assert asyncio.run(scene()) == [None, "run:a", "run:a"]
