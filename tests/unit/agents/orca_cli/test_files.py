"""``cp``, ``ls`` and ``rm``: what goes where, and that bytes arrive though the network stutters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.agents.orca_cli.conftest import WORKSPACE, Done, Portal, answer, page, problem, workspace

Orca = Callable[..., Done]
pytestmark = pytest.mark.usefixtures("logged_in")
FILES = f"workspaces/{WORKSPACE}/files/"
BUCKET = "https://bucket.example.org/"


def entry(path: str, size: int = 5) -> dict[str, Any]:
    if path.endswith("/"):
        return {"path": path, "kind": "folder", "size": None, "modified": None}
    return {"path": path, "kind": "file", "size": size, "modified": "2026-11-21T12:00:00Z"}


@pytest.fixture
def bucket(portal: Portal) -> Portal:
    """A bucket whose links name the file."""
    portal.says("GET", "workspaces/", page(workspace()))

    def begun(request: httpx.Request) -> httpx.Response:
        path = httpx.Response(200, content=request.content).json()["path"]
        return answer({"path": path, "upload_id": "", "part_bytes": 100, "part_count": 1, "urls": [BUCKET + path]}, 201)

    portal.says("POST", FILES + "uploads/", begun)
    portal.says("GET", FILES + "link/", lambda request: answer({"url": BUCKET + request.url.params["path"]}))
    return portal


def holds(portal: Portal, *paths: str) -> None:
    """Make the bucket hold these files, each with its path in it."""

    def listed(request: httpx.Request) -> httpx.Response:
        prefix, found = request.url.params["prefix"], {}
        for path in paths:
            if path.startswith(prefix):
                head, slash, _ = path.removeprefix(prefix).partition("/")
                deep = slash and request.url.params["recursive"] == "false"
                shown = f"{prefix}{head}/" if deep else path
                found[shown] = entry(shown, len(path))
        return page(*found.values())

    portal.says("GET", FILES, listed)
    for path in paths:
        portal.says("GET", BUCKET + path, httpx.Response(200, content=path.encode()))


def sent(portal: Portal) -> dict[str, bytes]:
    return {str(r.url).removeprefix(BUCKET): r.content for r in portal.asked if r.method == "PUT"}


def taking(portal: Portal, *paths: str) -> None:
    for path in paths:
        portal.says("PUT", BUCKET + path, httpx.Response(200))


@pytest.mark.parametrize(
    ("arguments", "arrive"),
    [
        (["a.txt", "orca://lab"], ["a.txt"]),
        (["a.txt", "orca://lab/in/"], ["in/a.txt"]),
        (["a.txt", "orca://lab/in/b.txt"], ["in/b.txt"]),
        (["a.txt", "sub/c.txt", "orca://lab/in"], ["in/a.txt", "in/c.txt"]),
        (["-r", "sub", "orca://lab/in/"], ["in/sub/c.txt", "in/sub/deep/d.txt"]),
        (["-r", "sub", "orca://lab/in"], ["in/c.txt", "in/deep/d.txt"]),
        (["-r", "sub/", "orca://lab/"], ["sub/c.txt", "sub/deep/d.txt"]),
    ],
)
def test_files_go_up(orca: Orca, bucket: Portal, home: Path, arguments: list[str], arrive: list[str]) -> None:
    (home / "sub" / "deep").mkdir(parents=True)
    for path in ("a.txt", "sub/c.txt", "sub/deep/d.txt"):
        (home / path).write_text(path)
    taking(bucket, *arrive)
    done = orca("cp", *arguments, "--json")
    assert done.code == 0, done.err
    assert sorted(sent(bucket)) == sorted(arrive)
    assert [made["to"] for made in done.json] == [f"orca://lab/{path}" for path in arrive]
    for request in bucket.asked:
        if request.method == "PUT":
            assert "Authorization" not in request.headers
            assert request.headers["Content-Length"] == str(len(request.content))
            assert "Transfer-Encoding" not in request.headers


@pytest.mark.parametrize(
    ("arguments", "arrive"),
    [
        (["orca://lab/in/a.txt", "."], {"a.txt": "in/a.txt"}),
        (["orca://lab/in/a.txt", "b.txt"], {"b.txt": "in/a.txt"}),
        (["orca://lab/in/a.txt", "new/"], {"new/a.txt": "in/a.txt"}),
        (["orca://lab/in/a.txt", "orca://lab/top.txt", "new"], {"new/a.txt": "in/a.txt", "new/top.txt": "top.txt"}),
        (["-r", "orca://lab/in", "got"], {"got/a.txt": "in/a.txt", "got/deep/d.txt": "in/deep/d.txt"}),
        (["-r", "orca://lab/in", "."], {"in/a.txt": "in/a.txt", "in/deep/d.txt": "in/deep/d.txt"}),
    ],
)
def test_files_come_down(orca: Orca, bucket: Portal, home: Path, arguments: list[str], arrive: dict[str, str]) -> None:
    holds(bucket, "in/a.txt", "in/deep/d.txt", "in/a.txt.old", "inside.txt", "top.txt")
    done = orca("cp", *arguments)
    assert done.code == 0, done.err
    assert {path: (home / path).read_text() for path in arrive} == arrive
    assert list(home.rglob("*.part")) == []


def test_a_file_can_go_to_standard_output(orca: Orca, bucket: Portal) -> None:
    holds(bucket, "in/a.txt")
    assert orca("cp", "orca://lab/in/a.txt", "-").out == "in/a.txt"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["orca://lab/in", "."], "is a folder"),
        (["sub", "orca://lab/"], "is a folder"),
        (["nothing", "orca://lab/"], "no file nothing"),
        (["orca://lab/nothing", "."], "nothing at orca://lab/nothing"),
        (["orca://lab/a", "orca://lab/b"], "not copied between buckets"),
        (["a", "b"], "One side of a copy is a bucket"),
        (["orca:///a", "."], "names no workspace"),
        (["orca://labb/a", "."], "Did you mean lab?"),
    ],
)
def test_what_cannot_be_copied_says_why(
    orca: Orca, bucket: Portal, home: Path, arguments: list[str], said: str
) -> None:
    (home / "sub").mkdir()
    holds(bucket, "in/a.txt")
    done = orca("cp", *arguments)
    assert done.code in {2, 4}
    assert said in done.err
    assert sent(bucket) == {}


def test_what_breaks_on_its_way_up_is_sent_again_by_a_fresh_link(orca: Orca, bucket: Portal, home: Path) -> None:
    (home / "a.txt").write_text("hello")
    expired = httpx.Response(403, text="<Error>Request has expired</Error>")
    bucket.says("PUT", BUCKET + "a.txt", httpx.WriteError("reset"), expired, httpx.Response(200))
    assert orca("cp", "a.txt", "orca://lab/").code == 0
    assert [request.content for request in bucket.asked if request.method == "PUT"] == [b"hello"] * 3
    assert len(bucket.sent("POST", FILES + "uploads/")) == 3


def test_a_large_file_goes_up_in_parts_and_only_what_broke_goes_again(orca: Orca, bucket: Portal, home: Path) -> None:
    (home / "large").write_bytes(b"aaaabbbbcc")
    begun = {"path": "large", "upload_id": "u", "part_bytes": 4, "part_count": 3, "urls": [BUCKET + "1", BUCKET + "2"]}
    bucket.says("POST", FILES + "uploads/", answer(begun, 201))
    bucket.says("POST", FILES + "uploads/links/", answer({"urls": [BUCKET + "2b"]}), answer({"urls": [BUCKET + "3"]}))
    bucket.says("POST", FILES + "uploads/complete/", answer(entry("large", 10)))
    bucket.says("PUT", BUCKET + "1", httpx.Response(200, headers={"ETag": '"one"'}))
    bucket.says("PUT", BUCKET + "2", httpx.WriteError("reset"))
    bucket.says("PUT", BUCKET + "2b", httpx.Response(200, headers={"ETag": '"two"'}))
    bucket.says("PUT", BUCKET + "3", httpx.Response(200, headers={"ETag": '"three"'}))
    assert orca("cp", "large", "orca://lab/").code == 0
    assert [(str(r.url)[-2:], r.content) for r in bucket.asked if r.method == "PUT"] == [
        ("/1", b"aaaa"),
        ("/2", b"bbbb"),
        ("2b", b"bbbb"),
        ("/3", b"cc"),
    ]
    upload = {"path": "large", "upload_id": "u"}
    assert bucket.bodies("POST", FILES + "uploads/complete/") == [{**upload, "etags": ['"one"', '"two"', '"three"']}]


def test_parts_of_a_file_that_cannot_go_up_are_thrown_away(orca: Orca, bucket: Portal, home: Path) -> None:
    (home / "large").write_bytes(b"aaaabbbb")
    begun = {"path": "large", "upload_id": "u", "part_bytes": 4, "part_count": 2, "urls": [BUCKET + "1", BUCKET + "2"]}
    bucket.says("POST", FILES + "uploads/", answer(begun, 201))
    bucket.says("POST", FILES + "uploads/links/", answer({"urls": [BUCKET + "1"]}))
    bucket.says("POST", FILES + "uploads/abort/", answer(status=204))
    bucket.says("PUT", BUCKET + "1", httpx.Response(507))
    done = orca("cp", "large", "orca://lab/")
    assert done.code == 1
    assert "refused: 507" in done.err
    assert len(bucket.sent("POST", FILES + "uploads/abort/")) == 1


class Breaking(httpx.SyncByteStream):
    """An answer that breaks off."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Any:
        yield self._content
        raise httpx.ReadError("reset")


def test_a_download_goes_on_where_it_broke(
    orca: Orca, bucket: Portal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds(bucket, "a.txt")
    ranges: list[str | None] = []

    def serve(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        if not str(request.url).startswith(BUCKET):
            return bucket.handle(request)
        ranges.append(request.headers.get("Range"))
        headers = {"ETag": '"e"'}
        if len(ranges) == 1:
            return httpx.Response(200, headers=headers, stream=Breaking(b"hel"))
        assert request.headers["If-Range"] == '"e"'
        return httpx.Response(206, headers=headers, stream=httpx.ByteStream(b"lo"))

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", serve)
    assert orca("cp", "orca://lab/a.txt", "b.txt").code == 0
    assert (home / "b.txt").read_bytes() == b"hello"
    assert ranges == [None, "bytes=3-"]


def test_a_download_that_fails_leaves_what_was_there(orca: Orca, bucket: Portal, home: Path) -> None:
    holds(bucket, "a.txt")
    (home / "a.txt").write_text("mine")
    bucket.says("GET", BUCKET + "a.txt", httpx.Response(403))
    assert orca("cp", "orca://lab/a.txt", ".").code == 1
    assert (home / "a.txt").read_text() == "mine"
    assert sorted(path.name for path in home.iterdir()) == ["a.txt", "config"]


def test_listing(orca: Orca, bucket: Portal) -> None:
    holds(bucket, "in/a.txt", "in/deep/d.txt", "inside.txt")
    names = [line.split()[-1] for line in orca("ls").out.splitlines()[1:]]
    assert names == ["in/", "inside.txt"]
    names = [line.split()[-1] for line in orca("ls", "orca://lab/in").out.splitlines()[1:]]
    assert names == ["a.txt", "deep/"]
    assert [e["path"] for e in orca("ls", "-r", "orca://lab/in/", "--json").json] == ["in/a.txt", "in/deep/d.txt"]
    assert orca("ls", "orca://lab/i").code == 4
    assert [e["path"] for e in orca("ls", "orca://lab/inside.txt", "--json").json] == ["inside.txt"]


def test_an_empty_bucket_is_an_empty_list(orca: Orca, bucket: Portal) -> None:
    holds(bucket)
    assert orca("ls", "--json").json == []
    done = orca("ls")
    assert (done.code, done.out) == (0, "")
    assert "is empty" in done.err


def test_deleting_a_folder_takes_a_yes(orca: Orca, bucket: Portal) -> None:
    holds(bucket, "in/a.txt", "in/b.txt", "top.txt")
    bucket.says("DELETE", FILES, answer(status=204))
    assert orca("rm", "orca://lab/in", "--yes").code == 2  # a folder, without -r
    assert orca("rm", "-r", "orca://lab/in").code == 2  # nobody to ask
    assert bucket.sent("DELETE", FILES) == []
    assert len(orca("rm", "-r", "orca://lab/in", "--yes", "--json").json) == 2
    assert [request.url.params["path"] for request in bucket.sent("DELETE", FILES)] == ["in/a.txt", "in/b.txt"]


def test_a_workspace_without_a_bucket_says_so(orca: Orca, bucket: Portal) -> None:
    bucket.says("GET", FILES, problem("not_built", 409, "The workspace lab has no bucket now.", "It has one later."))
    done = orca("ls")
    assert done.code == 5
    assert "has no bucket now" in done.err
