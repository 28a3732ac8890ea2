"""The items of a shard lie where its program looks for them, whatever their catalogue calls them."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.orca_agent.cloud.bucket import Links
from agents.orca_agent.cloud.client import Client
from agents.orca_agent.cloud.transport import Transport
from agents.orca_agent.events import Reason
from agents.orca_agent.orders import Data
from agents.orca_agent.steps import data, transfer
from agents.orca_agent.steps.failure import StepFailed
from tests.unit.agents.orca_agent.doubles import MemoryBucket

KEY = "jobs/j/items.jsonl"
Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Many here are broken off on purpose."""


class Site:
    """A web server of what a test puts there: content, or what answers."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes | Answer] = {}
        self.default: bytes | None = None
        self.asked: list[tuple[str, str]] = []
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.asked.append((self.path, self.headers.get("range", "")))
                page = site.pages.get(self.path.partition("?")[0], site.default)
                if page is None:
                    answer(self, 404, b"<html>no</html>")
                elif callable(page):
                    page(self)
                else:
                    in_parts(self, page)

            def log_message(self, format: str, *args: object) -> None:
                return

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))

    def __enter__(self) -> Site:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def answer(handler: http.server.BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"content-length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def in_parts(handler: http.server.BaseHTTPRequestHandler, content: bytes) -> None:
    start, end = map(int, handler.headers["range"].removeprefix("bytes=").split("-"))
    if start >= len(content):
        answer(handler, 416, b"", content_range=f"bytes */{len(content)}")
        return
    part = content[start : end + 1]
    answer(handler, 206, part, content_range=f"bytes {start}-{start + len(part) - 1}/{len(content)}")


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as running:
        yield running


class Shard:
    """Items as their lines stand in a bucket, and a folder to fetch them to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bucket = MemoryBucket()
        self.came = 0
        self.own = 0
        self.said: list[str] = []
        self.links = Links(Client("s3", "eu-central-1", None, Transport(guarded=True), pause=lambda seconds: None))

    def fetch(self, *items: Any, room: int = 10**9, **other: Any) -> dict[str, bytes]:
        """The files that lie in the folder then, by path."""
        lines = b"".join(json.dumps(item).encode() + b"\n" for item in items)
        self.bucket.objects[KEY] = b"before\n" + lines + b"after\n"
        given = Data(**{"key": KEY, "offset": 7, "length": len(lines), "items": len(items), **other})
        data.fetch(
            given,
            self.folder,
            self.bucket,
            self.links,
            room=room,
            check=lambda: None,
            count=self._count,
            say=self.said.append,
        )
        found = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found}

    def _count(self, size: int, own: bool) -> None:
        self.came += size
        self.own += size if own else 0

    def refusal(self, *items: Any, **more: Any) -> str:
        with pytest.raises(StepFailed) as failed:
            self.fetch(*items, **more)
        assert failed.value.reason == Reason.INPUT_FAILED
        return failed.value.message


@pytest.fixture
def shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shard:
    monkeypatch.setattr(transfer, "backoff", lambda attempt: 0.0)
    folder = tmp_path / "input"
    folder.mkdir()
    return Shard(folder)


def item(name: str, **assets: Any) -> dict[str, Any]:
    return {"id": name, "datetime": "2019-01-01T13:00:00Z", "bbox": [1, 2, 3, 4], "assets": assets}


def test_items_lie_by_their_names_with_what_is_known_of_them(shard: Shard, site: Site) -> None:
    site.pages |= {"/a/X.jpg": b"far", "/a/band.tif": b""}
    shard.bucket.objects["jobs/i/outputs/x/own.png"] = b"own"
    found = shard.fetch(
        item("X", thumbnail={"href": site.url + "/a/X.jpg"}, band={"href": site.url + "/a/band.tif"}),
        item("Y", image={"key": "jobs/i/outputs/x/own.png"}),
        item("Z"),
    )
    metadata = {path: json.loads(found.pop(path)) for path in sorted(found) if path.startswith("metadata/")}
    assert found == {"images/X/X.jpg": b"far", "images/X/band.tif": b"", "images/Y/own.png": b"own"}
    assert list(metadata) == ["metadata/X.json", "metadata/Y.json", "metadata/Z.json"]
    assert metadata["metadata/X.json"] == {
        **item("X", thumbnail={"href": site.url + "/a/X.jpg"}, band={"href": site.url + "/a/band.tif"}),
        "files": {"thumbnail": "images/X/X.jpg", "band": "images/X/band.tif"},
    }
    assert (shard.folder / "images/Z").is_dir()
    assert (shard.folder / "metadata/X.json").stat().st_mode & 0o777 == 0o444
    assert shard.came == len(b"far") + len(b"own") + len(shard.bucket.objects[KEY]) - 7 - 6
    assert shard.own == shard.came - len(b"far"), "what comes from the own bucket is told apart"


@pytest.mark.parametrize(
    ("name", "href", "path"),
    [
        ("../../etc", "/x.jpg", "images/_._.._etc/x.jpg"),
        ("..", "/x.jpg", "images/_./x.jpg"),
        ("/root/a b", "/x.jpg", "images/_root_a_b/x.jpg"),
        ("größe", "/x.jpg", "images/gr__e/x.jpg"),
        ("X", "/d/..%2f..%2fetc%2fpasswd", "images/X/_._.._etc_passwd"),
        ("X", "/d/%2e%2e", "images/X/_..jpg"),
        ("X", "/d/.bashrc?download=../../x", "images/X/_bashrc.jpg"),
        ("X", "/d/a%00b;c.jpg", "images/X/a_b_c.jpg"),
        ("X", "/d/", "images/X/image.jpg"),
        ("X", "/d/é b.tif", "images/X/__b.tif"),
        ("X", "/d/" + "y" * 400 + ".tif", "images/X/" + "y" * 146 + ".tif"),
        ("i" * 400, "/x", "images/" + "i" * 150 + "/x.jpg"),
    ],
)
def test_no_name_leads_out_or_hides(shard: Shard, site: Site, name: str, href: str, path: str) -> None:
    site.default = b"1"
    found = shard.fetch(item(name, image={"href": site.url + href, "type": "image/jpeg"}))
    assert [place for place in found if place.startswith("images/")] == [path]
    assert {place.name for place in shard.folder.parent.iterdir()} == {"input"}


def test_keys_of_the_own_bucket_are_taken_as_they_are(shard: Shard) -> None:
    keys = {"a": "photos//2019/größe +%41&.jpg", "b": "/lead", "c": "folder/"}
    shard.bucket.objects |= {key: key.encode() for key in keys.values()}
    found = shard.fetch(item("X", **{name: {"key": key} for name, key in keys.items()}))
    assert {path: content.decode() for path, content in found.items() if path.startswith("images/")} == {
        "images/X/gr__e_+_41_.jpg": keys["a"],
        "images/X/lead": keys["b"],
        "images/X/c": keys["c"],
    }


def test_names_that_are_the_same_are_told_apart(shard: Shard, site: Site) -> None:
    site.pages |= {"/1/b.tif": b"1", "/2/b.tif": b"2"}
    both = {"one": {"href": site.url + "/1/b.tif"}, "two": {"href": site.url + "/2/b.tif"}}
    found = shard.fetch(item("a/b", **both), item("a b", one=both["one"]))
    assert {path: content for path, content in found.items() if path.startswith("images/")} == {
        "images/a_b/b.tif": b"1",
        "images/a_b/b-2.tif": b"2",
        "images/a_b-2/b.tif": b"1",
    }
    assert json.loads(found["metadata/a_b-2.json"])["id"] == "a b"


def test_a_large_file_of_unknown_size_comes_in_parts(shard: Shard, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PART", 1_000)
    site.pages["/x"] = bytes(range(250)) * 10
    assert shard.fetch(item("X", x={"href": site.url + "/x"}))["images/X/x"] == site.pages["/x"]
    assert sorted(asked for _, asked in site.asked) == ["bytes=0-999", "bytes=1000-1999", "bytes=2000-2499"]


def test_who_knows_no_parts_serves_all_at_once(shard: Shard, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PART", 1_000)

    def chunked(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        for _ in range(3):
            handler.wfile.write(b"3e8\r\n" + b"y" * 1_000 + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    site.pages |= {"/x": lambda handler: answer(handler, 200, b"x" * 5_000), "/y": chunked}
    found = shard.fetch(item("X", x={"href": site.url + "/x"}, y={"href": site.url + "/y"}))
    assert (found["images/X/x"], found["images/X/y"]) == (b"x" * 5_000, b"y" * 3_000)
    assert len(site.asked) == 2


def test_one_bad_asset_fails_the_shard_and_is_named(shard: Shard, site: Site) -> None:
    site.pages["/a"] = b"1"
    message = shard.refusal(
        item("X", a={"href": site.url + "/a"}, thumb={"href": site.url + "/gone.jpg?X-Amz-Signature=permission"})
    )
    assert message == (f"Asset 'thumb' of item 'X' ({site.url}/gone.jpg) could not be fetched: NotFound (status 404)")
    assert [path for path, _ in site.asked if "gone" in path] == ["/gone.jpg?X-Amz-Signature=permission"]


def test_what_fails_in_passing_is_asked_for_again(shard: Shard, site: Site) -> None:
    def moody(handler: http.server.BaseHTTPRequestHandler) -> None:
        times = len(site.asked)
        if times < 5:
            answer(handler, [503, 429, 500, 502][times - 1], b"", retry_after="0")
        elif times < 8:  # breaks off
            handler.send_response(206)
            handler.send_header("content-range", "bytes 0-5/6")
            handler.send_header("content-length", "6")
            handler.end_headers()
            handler.wfile.write(b"who")
            handler.close_connection = True
        else:
            in_parts(handler, b"whole!")

    site.pages["/x"] = moody
    assert shard.fetch(item("X", x={"href": site.url + "/x"}))["images/X/x"] == b"whole!"
    assert shard.came == 3 * 3 + 6 + len(shard.bucket.objects[KEY]) - 7 - 6


def test_who_never_answers_well_is_given_up(shard: Shard, site: Site) -> None:
    site.pages["/x"] = lambda handler: answer(handler, 503, b"")
    assert shard.refusal(item("X", x={"href": site.url + "/x"})).endswith("could not be fetched: Status503")
    assert len(site.asked) == data.TIMES * 3


def test_who_drips_is_given_up(shard: Shard, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "FIRST_SECONDS", 0.1)
    monkeypatch.setattr(data, "TIMES", 1)
    over = threading.Event()

    def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "100000")
        handler.end_headers()
        while not over.wait(0.02):
            try:
                handler.wfile.write(b"x")
            except OSError:
                return

    site.pages["/x"] = drip
    try:
        assert "TooSlow" in shard.refusal(item("X", x={"href": site.url + "/x"}))
    finally:
        over.set()


def test_what_is_bigger_than_the_room_does_not_come(shard: Shard, site: Site) -> None:
    site.pages["/x"] = b"x" * 5_000_000
    message = shard.refusal(item("X", x={"href": site.url + "/x"}), room=3_000_000)
    assert message.startswith("Asset 'x' of item 'X' (http")
    assert "the disk has room for 2.9 MB of inputs" in message
    assert len(site.asked) == 1


def test_what_announces_more_than_the_room_is_broken_off_at_once(shard: Shard, site: Site) -> None:
    def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", str(10**15))
        handler.end_headers()

    site.pages["/x"] = endless
    assert "TooLarge" in shard.refusal(item("X", x={"href": site.url + "/x"}))
    assert len(site.asked) == 1


def test_many_that_have_no_room_together_do_not_come(shard: Shard, site: Site) -> None:
    site.pages["/x"] = b"x" * 1_000_000
    assets = {str(number): {"href": site.url + "/x"} for number in range(10)}
    assert "the disk has room for 1.9 MB" in shard.refusal(item("X", **assets), room=2_000_000)


def test_what_is_said_to_be_bigger_than_the_room_is_not_asked_for(shard: Shard, site: Site) -> None:
    message = shard.refusal(item("X", x={"href": site.url + "/x", "size": 9 * 2**20}), room=2**20)
    assert message == "Its inputs take 9.0 MB; the disk has room for 1.0 MB."
    assert site.asked == []


def test_a_size_that_is_not_as_was_said_is_told(shard: Shard, site: Site) -> None:
    site.pages["/x"] = b"12345"
    shard.fetch(item("X", x={"href": site.url + "/x", "size": 4}))
    assert shard.said == [f"Asset 'x' of item 'X' ({site.url}/x) has 5 bytes; its catalogue said 4."]


def test_redirects_are_followed_and_not_for_ever(shard: Shard, site: Site) -> None:
    site.pages |= {
        "/old": lambda handler: answer(handler, 302, b"moved", location="/new"),
        "/new": b"here",
        "/loop": lambda handler: answer(handler, 301, b"", location="/loop"),
        "/out": lambda handler: answer(handler, 301, b"", location="file:///etc/passwd"),
    }
    assert shard.fetch(item("X", x={"href": site.url + "/old"}))["images/X/old"] == b"here"
    assert "TooManyRedirects" in shard.refusal(item("Y", x={"href": site.url + "/loop"}))
    assert "BadRedirect: it leads to 'file:///etc/passwd'" in shard.refusal(item("Z", x={"href": site.url + "/out"}))


@pytest.mark.parametrize(
    "asset",
    [
        {},
        {"href": "s3://bucket/key", "requester_pays": True},
        {"href": "file:///etc/passwd"},
        {"href": "https:///x"},
        {"href": "https://me:word@b.example/"},
        {"href": "https://b.example:port/"},
        {"href": "relative.jpg"},
        {"href": "x" * 9_000},
        {"key": "../other/key"},
        {"key": ""},
        {"key": "control/agent.json"},
        {"key": "jobs/./x"},
        {"href": "https://b.example/", "size": -1},
        {"href": 7},
        [],
    ],
)
def test_assets_that_make_no_sense_are_refused(shard: Shard, asset: Any) -> None:
    message = shard.refusal(item("X", band=asset))
    assert message.startswith("The list of its items makes no sense: item 1.assets.band")


@pytest.mark.parametrize("line", [[], "x", {}, {"id": ""}, {"id": 7}, {"id": "X", "assets": []}])
def test_lines_that_make_no_sense_are_refused(shard: Shard, line: Any) -> None:
    if line == {"id": ""}:
        assert list(shard.fetch(line)) == ["metadata/_.json"]
        return
    assert shard.refusal(line).startswith("The list of its items makes no sense: item 1")


def test_a_slice_that_is_not_what_was_agreed_is_refused(shard: Shard) -> None:
    assert "1 of 2 items" in shard.refusal(item("X"), items=2)
    assert "2 of 1 items" in shard.refusal(item("X"), offset=9)
    assert "makes no sense" in shard.refusal(item("X"), offset=9, items=2)
    assert "not what it was" in shard.refusal(item("X"), length=5_000)
    assert shard.refusal(item("X"), key="jobs/none") == "The list of its items is not there."


def test_whatever_its_properties_hold_it_is_told(shard: Shard) -> None:
    odd = {"lone": "\ud800", "nul": "\0", "emoji": "\U0001f30d", "large": 10**30}
    found = shard.fetch({**item("X"), "properties": odd})
    assert json.loads(found["metadata/X.json"])["properties"] == odd


@pytest.mark.parametrize("depth", [500, 900, 5_000, 100_000])
def test_what_is_nested_too_deeply_is_refused_or_told(shard: Shard, depth: int) -> None:
    line = b'{"id": "X", "properties": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}\n"
    shard.bucket.objects[KEY] = line
    given = Data(KEY, 0, len(line), 1)
    with contextlib.suppress(StepFailed):
        data.fetch(given, shard.folder, shard.bucket, shard.links, room=10**9, check=int, count=shard._count, say=print)


def test_what_others_still_fetch_is_broken_off_when_one_has_failed(shard: Shard, site: Site) -> None:
    broken_off = threading.Event()

    def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 1_000)
                time.sleep(0.01)
        except OSError:
            broken_off.set()

    site.pages["/endless"] = endless
    assets = {"a": {"href": site.url + "/endless"}, "b": {"href": site.url + "/gone"}}
    assert "/gone" in shard.refusal(item("X", **assets))
    assert broken_off.wait(5)


def test_no_items_are_no_error(shard: Shard) -> None:
    assert shard.fetch(items=0) == {}
    assert (shard.folder / "images").is_dir()
