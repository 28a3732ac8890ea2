"""Files between this machine and a workspace's bucket: by presigned links, in pieces that are sent again if need be."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx

from .api import Api, Unreachable
from .errors import CliError, Exit
from .profiles import is_local

SCHEME = "orca://"
_ATTEMPTS = 5
_PIECE = 1 << 18
_PATIENCE = httpx.Timeout(60, connect=10)
Counted = Callable[[int], None]


@dataclass(frozen=True)
class Remote:
    """A place in a workspace's bucket: ``orca://workspace/path``. The path may be empty, or end with a slash."""

    workspace: str
    path: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.workspace}/{self.path}"


@dataclass(frozen=True)
class _Piece:
    """A stretch of a file: from byte ``start``, ``size`` of them."""

    source: Path
    start: int
    size: int


def remote(text: str) -> Remote | None:
    """The place that ``orca://…`` names; nothing where it is a local path. Raises ``CliError``."""
    if not text.startswith(SCHEME):
        return None
    workspace, _, path = text.removeprefix(SCHEME).partition("/")
    if not workspace:
        raise CliError(f"“{text}” names no workspace.", hint="Write orca://workspace/path.", exit_code=Exit.USAGE)
    return Remote(workspace, path)


class Bucket:
    """A person's files in one workspace's bucket. Every method raises ``CliError``."""

    def __init__(self, api: Api, workspace_id: str) -> None:
        self._api, self._path = api, f"workspaces/{workspace_id}/files/"
        self._http = plain_http(api.profile.url)

    def entries(self, prefix: str, *, recursive: bool = False) -> Iterator[Any]:
        """Files and folders whose paths begin with ``prefix``."""
        return self._api.find(self._path, prefix=prefix, recursive=str(recursive).lower())

    def delete(self, path: str) -> None:
        """Delete a file."""
        self._api.delete(self._path, path=path)

    def upload(self, source: Path, path: str, counted: Counted) -> None:
        """Send a file."""
        size = source.stat().st_size
        begun = self._api.post(self._path + "uploads/", {"path": path, "size": size})
        if not begun["upload_id"]:
            whole = _Piece(source, 0, size)
            self._put(whole, begun["urls"][0], counted, lambda: self._begin_again(path, size))
            return
        named = {"path": path, "upload_id": begun["upload_id"]}
        try:
            etags = list(self._parts(begun, named, source, size, counted))
            self._api.post(self._path + "uploads/complete/", {**named, "etags": etags})
        except BaseException:
            with contextlib.suppress(CliError):
                self._api.send("POST", self._path + "uploads/abort/", json=named)
            raise

    def _begin_again(self, path: str, size: int) -> str:
        return str(self._api.post(self._path + "uploads/", {"path": path, "size": size})["urls"][0])

    def _parts(self, begun: Any, named: Any, source: Path, size: int, counted: Counted) -> Iterator[str]:
        part_bytes, urls = begun["part_bytes"], dict(enumerate(begun["urls"], 1))
        for number in range(1, begun["part_count"] + 1):
            start = (number - 1) * part_bytes

            def fresh(number: int = number) -> str:
                asked = {**named, "first": number, "count": 1}
                return str(self._api.post(self._path + "uploads/links/", asked)["urls"][0])

            url = urls.get(number) or fresh()
            answer = self._put(_Piece(source, start, min(part_bytes, size - start)), url, counted, fresh)
            yield answer.headers["etag"]

    def _put(self, piece: _Piece, url: str, counted: Counted, fresh: Callable[[], str]) -> httpx.Response:
        """PUT a piece of a file; what breaks is sent again, by a fresh link where the old one has run out."""
        for attempt in range(_ATTEMPTS):
            sent = 0

            def told(bytes_read: int) -> None:
                nonlocal sent
                sent += bytes_read
                counted(bytes_read)

            with piece.source.open("rb") as file:
                file.seek(piece.start)
                try:
                    headers = {"Content-Length": str(piece.size)}
                    answer = self._http.put(url, content=_read(file, piece.size, told), headers=headers)
                    if answer.is_success:
                        return answer
                    trouble = _refusal(answer)
                except httpx.HTTPError as error:
                    trouble = _unreachable(error)
            counted(-sent)
            if attempt + 1 == _ATTEMPTS:
                raise trouble
            time.sleep(0.5 * 2**attempt)
            url = fresh()
        raise AssertionError("the last attempt returns or raises")

    def download(self, path: str, target: IO[bytes], counted: Counted) -> None:
        """Fetch a file; where the connection breaks, it goes on from what has come."""
        fetch(self._http, lambda: str(self._api.get(self._path + "link/", path=path)["url"]), path, target, counted)


def plain_http(url: str) -> httpx.Client:
    """What asks a bucket of the Orca at ``url``: links carry their own signature, the token is for Orca alone."""
    return httpx.Client(headers={"Accept-Encoding": "identity"}, timeout=_PATIENCE, trust_env=not is_local(url))


def fetch(http: httpx.Client, fresh: Callable[[], str], name: str, target: IO[bytes], counted: Counted) -> None:
    """Fetch what a link of ``fresh`` leads to; where the connection breaks, it goes on from what has come."""
    received, quiet, etag = 0, 0, ""
    while True:
        headers = {"Range": f"bytes={received}-", "If-Range": etag} if received else {}
        before = received
        try:
            with http.stream("GET", fresh(), headers=headers) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _refusal(answer)
                if received and answer.status_code != httpx.codes.PARTIAL_CONTENT:
                    raise CliError(f"{name} has changed while it was fetched.", hint="Fetch it again.")
                etag = answer.headers.get("etag", "")
                for piece in answer.iter_raw():  # as it comes: what was waited for would be lost with the connection
                    target.write(piece)
                    received += len(piece)
                    counted(len(piece))
            return
        except httpx.HTTPError as error:
            quiet = 0 if received > before else quiet + 1
            if quiet >= _ATTEMPTS:
                raise _unreachable(error) from error
            time.sleep(0.5 * 2**quiet)


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that appears under its name only once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror}.", code="not_written") from error
    finally:
        partial.unlink(missing_ok=True)


def _read(file: IO[bytes], count: int, counted: Counted) -> Iterator[bytes]:
    while count > 0 and (piece := file.read(min(_PIECE, count))):
        count -= len(piece)
        yield piece
        counted(len(piece))


def _refusal(answer: httpx.Response) -> CliError:
    return CliError(
        f"The bucket refused: {answer.status_code} {answer.reason_phrase}.",
        hint="Try again; if it stays so, look at the workspace: orca workspace status",
        code="bucket_refused",
    )


def _unreachable(error: httpx.HTTPError) -> Unreachable:
    reason = str(error) or type(error).__name__
    return Unreachable(f"The bucket does not answer ({reason}).", hint="Check the network and try again.")
