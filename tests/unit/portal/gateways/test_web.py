"""Reading from an address that a person gave: from nowhere inside, not too much, and not for ever."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from portal.gateways.web import Answer, Unread, Web
from tests.fixtures.catalogues import Asked, Said, Site, serving


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as made:
        yield made


def read(url: str, *, private: bool = True, within: float = 5, **more: Any) -> Answer:
    async def once() -> Answer:
        async with Web(private=private) as web:
            return await web.read(url, within=within, **more)

    return asyncio.run(once())


def test_what_is_there_is_read(site: Site) -> None:
    site.pages["/x"] = Said(body=b"hello", headers={"ETag": '"1"'})
    assert read(f"{site.url}/x") == Answer(f"{site.url}/x", b"hello", etag='"1"', length=5)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
def test_a_private_address_is_refused_before_anything_is_sent(site: Site, host: str) -> None:
    with pytest.raises(Unread, match="private network") as raised:
        read(site.url.replace("127.0.0.1", host), private=False)
    assert not raised.value.retryable
    assert not site.heard


def test_the_metadata_of_this_machine_is_never_read() -> None:
    with pytest.raises(Unread, match="private network"):
        read("http://169.254.169.254/latest/meta-data/", private=True)


def test_a_name_is_judged_by_what_it_means_when_it_is_connected_to(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def inside(host: Any, *rest: Any, **more: Any) -> Any:
        return real("127.0.0.1" if host in {"inside.example", b"inside.example"} else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", inside)
    port = site.url.rsplit(":", 1)[1]
    site.pages["/x"] = Said(body=b"1")
    assert read(f"http://inside.example:{port}/x").body == b"1"
    with pytest.raises(Unread, match="private network"):
        read(f"http://inside.example:{port}/x", private=False)
    assert len(site.heard) == 1


def test_a_redirect_is_judged_like_any_address(site: Site) -> None:
    site.pages["/x"] = Said(302, headers={"Location": "http://169.254.169.254/latest/meta-data/"})
    with pytest.raises(Unread, match="private network"):
        read(f"{site.url}/x")


def test_redirects_are_followed_to_their_end(site: Site) -> None:
    site.pages |= {"/a": Said(301, headers={"Location": "b/c"}), "/b/c": Said(body=b"end")}
    assert read(f"{site.url}/a") == Answer(f"{site.url}/b/c", b"end", length=3)
    site.pages["/b/c"] = Said(307, headers={"Location": "/a"})
    with pytest.raises(Unread, match="again and again"):
        read(f"{site.url}/a")


@pytest.mark.parametrize("there", ["file:///etc/passwd", "ftp://a.example/", "s3://a/b", "http://[::1"])
def test_redirects_lead_to_the_web_only(site: Site, there: str) -> None:
    site.pages["/x"] = Said(302, headers={"Location": there})
    with pytest.raises(Unread, match="no address that"):
        read(f"{site.url}/x")


def test_too_much_is_not_read(site: Site) -> None:
    site.pages["/told"] = Said(body=b"x" * 2001)
    site.pages["/packed"] = Said(body=gzip.compress(b"x" * 10**7), headers={"Content-Encoding": "gzip"})
    for path in ("/told", "/packed"):
        with pytest.raises(Unread, match="larger"):
            read(site.url + path, most=2000)
    assert len(read(f"{site.url}/packed", most=10**7).body) == 10**7


def test_who_hangs_is_left_in_time(site: Site) -> None:
    site.pages["/x"] = Said(after=30)
    began = time.monotonic()
    with pytest.raises(Unread, match="did not answer") as raised:
        read(f"{site.url}/x", within=0.4)
    assert time.monotonic() - began < 3
    assert raised.value.retryable


@pytest.mark.parametrize(("status", "retryable"), [(404, False), (403, False), (429, True), (500, True), (503, True)])
def test_what_passes_is_told_from_what_does_not(site: Site, status: int, retryable: bool) -> None:
    site.pages["/x"] = Said(status, headers={"Retry-After": "7"})
    with pytest.raises(Unread, match=str(status)) as raised:
        read(f"{site.url}/x")
    assert (raised.value.retryable, raised.value.retry_after) == (retryable, 7)


def test_nobody_there_is_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Unread, match="cannot be reached") as raised:
        read(f"http://127.0.0.1:{port}/")
    assert raised.value.retryable


def test_what_has_not_changed_is_not_sent_again(site: Site) -> None:
    def page(asked: Asked) -> Said:
        return Said(304) if asked.headers.get("If-None-Match") == '"1"' else Said(body=b"new", headers={"ETag": '"1"'})

    site.pages["/x"] = page
    assert read(f"{site.url}/x").etag == '"1"'
    assert read(f"{site.url}/x", etag='"1"').same


def test_no_proxy_and_no_cookie_is_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    site.pages |= {
        "/a": Said(302, headers={"Location": "/b", "Set-Cookie": "a=1"}),
        "/b": Said(body=b"1"),
    }
    assert read(f"{site.url}/a").body == b"1"
    assert "Cookie" not in site.heard[-1].headers


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://a b/", "http://127.0.0.1:99999/", "gopher://x/"])
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(Unread):
        read(url)


def test_a_length_is_told_without_reading(site: Site) -> None:
    site.pages["/x"] = Said(body=b"x" * 300)
    assert read(f"{site.url}/x", method="HEAD").length == 300
