"""One S3 bucket: small objects, downloads to a file, uploads of any size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, Final, Iterator, Mapping, Optional, Protocol
from urllib.parse import unquote_plus, urljoin, urlsplit

from agents.orca_agent.cloud.client import Client, custom_endpoint, dns_suffix, read_error
from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.cloud.signing import encode, query_string
from agents.orca_agent.cloud.transport import Body, FileSlice, Response, Target

PART: Final = 32 * 1024 * 1024
MAX_PARTS: Final = 10_000
TRANSFER_TIMEOUT: Final = 120.0
SILENCE: Final = 20.0
"""Seconds after which a part that does not arrive is asked for again."""
PART_ATTEMPTS: Final = 3
"""Few, so that who fetches can look between them whether it is still wanted."""
MAX_REDIRECTS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
NAMED: Final = {"user-agent": "orca-agent"}  # there are servers that refuse who has no name
CONTENTS: Final = re.compile(rb"<Contents>(.*?)</Contents>", re.DOTALL)
NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(frozen=True)
class Stored:
    """An object's content and its entity tag."""

    body: bytes
    etag: str


@dataclass(frozen=True)
class Listed:
    """An object's key, and its size in bytes."""

    key: str
    size: int


class Bucket(Protocol):
    """What the agent needs of a bucket. Calls may raise `CloudError`, `Missing` for what is not there."""

    def get(self, key: str, *, bucket: str = "", attempts: int = ...) -> Stored: ...

    def get_if_changed(self, key: str, etag: str) -> Optional[Stored]:
        """None where the object still has that tag."""

    def download(self, key: str, into: Target, *, limit: int, bucket: str = "") -> None: ...

    def list(self, prefix: str) -> Iterator[Listed]:
        """The objects whose keys begin with ``prefix``, by key."""

    def fetch(self, key: str, into: Target, *, start: int, length: int) -> int:
        """Bytes ``start`` to ``start + length`` of an object; returns how many bytes it has in all."""

    def put(self, key: str, body: bytes, content_type: str) -> None: ...

    def upload(self, key: str, descriptor: int, size: int, content_type: str) -> None:
        """Store the first ``size`` bytes of an open file."""


class S3Bucket:
    """A bucket of S3, by virtual host on AWS and by path at an endpoint that was given."""

    def __init__(self, name: str, client: Client, *, environment: Optional[Mapping[str, str]] = None) -> None:
        self.name = name
        self._client = client
        if environment is None:
            self._endpoint = custom_endpoint("s3")
        else:
            self._endpoint = custom_endpoint("s3", environment)

    def url(self, key: str, query: Optional[Mapping[str, str]] = None, *, bucket: str = "") -> str:
        """The address of an object, in this bucket or the one that is named."""
        name = bucket or self.name
        if self._endpoint:
            base = f"{self._endpoint}/{name}"
        else:
            base = f"https://{name}.s3.{self._client.region}.{dns_suffix(self._client.region)}"
        return f"{base}/{encode(key, safe='/')}" + (f"?{query_string(query)}" if query is not None else "")

    def get(self, key: str, *, bucket: str = "", attempts: int = 8) -> Stored:
        answer = self._client.call("GET", self.url(key, bucket=bucket), {}, attempts=attempts)
        return Stored(answer.body, answer.headers.get("etag", ""))

    def get_if_changed(self, key: str, etag: str) -> Optional[Stored]:
        headers = {"if-none-match": etag} if etag else {}
        answer = self._client.call("GET", self.url(key), headers, timeout=20.0, attempts=1)
        if answer.status == 304:
            return None
        return Stored(answer.body, answer.headers.get("etag", ""))

    def list(self, prefix: str) -> Iterator[Listed]:
        query = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
        while True:
            document = self._client.call("GET", f"{self.url('', query)}", {}, timeout=SILENCE).body
            for found in CONTENTS.finditer(document):
                entry = found.group(1)
                yield Listed(unquote_plus(_value(entry, "Key")), int(_value(entry, "Size")))
            if b"<IsTruncated>true</IsTruncated>" not in document:
                return
            query["continuation-token"] = _value(document, "NextContinuationToken").replace("&amp;", "&")

    def fetch(self, key: str, into: Target, *, start: int, length: int) -> int:
        return _whole(_ask(self._client, self.url(key), into, start, length, headers={}), start, length)

    def download(self, key: str, into: Target, *, limit: int, bucket: str = "") -> None:
        url = self.url(key, bucket=bucket)
        self._client.call("GET", url, {}, into=into, limit=limit, timeout=TRANSFER_TIMEOUT)

    def put(self, key: str, body: bytes, content_type: str) -> None:
        self._client.call("PUT", self.url(key), {"content-type": content_type}, body)

    def upload(self, key: str, descriptor: int, size: int, content_type: str) -> None:
        if size > PART:
            self._upload_parts(key, descriptor, size, content_type)
            return
        body = FileSlice(descriptor, 0, size)
        self._client.call("PUT", self.url(key), {"content-type": content_type}, body, timeout=TRANSFER_TIMEOUT)

    def _upload_parts(self, key: str, descriptor: int, size: int, content_type: str) -> None:
        started = self._post(key, {"uploads": ""}, None, {"content-type": content_type})
        upload = _value(started.body, "UploadId")
        part_size = max(PART, -(-size // MAX_PARTS))
        try:
            tags: Dict[int, str] = {}
            for number, offset in enumerate(range(0, size, part_size), 1):
                body = FileSlice(descriptor, offset, min(part_size, size - offset))
                query = {"partNumber": str(number), "uploadId": upload}
                answer = self._client.call("PUT", self.url(key, query), {}, body, timeout=TRANSFER_TIMEOUT)
                tags[number] = answer.headers.get("etag", "")
            parts = "".join(
                f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>" for number, tag in tags.items()
            )
            document = f'<CompleteMultipartUpload xmlns="{NAMESPACE}">{parts}</CompleteMultipartUpload>'
            done = self._post(key, {"uploadId": upload}, document.encode(), {"content-type": "application/xml"})
            if b"<Error>" in done.body:  # S3 may say 200 and fail afterwards
                raise read_error(Response(500, {}, done.body))
        except BaseException:
            self._abandon(key, upload)
            raise

    def _post(self, key: str, query: Mapping[str, str], body: Body, headers: Mapping[str, str]) -> Response:
        return self._client.call("POST", self.url(key, query), headers, body, timeout=TRANSFER_TIMEOUT)

    def _abandon(self, key: str, upload: str) -> None:
        """Parts that nobody completes cost money."""
        try:
            self._client.call("DELETE", self.url(key, {"uploadId": upload}), {}, attempts=2)
        except CloudError:
            return


class Links:
    """Objects of any bucket by addresses that carry their own permission, and files of any web server.

    No keys of ours go along. ``client`` should be guarded: the addresses come from others.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def fetch(self, url: str, into: Target, *, start: int, length: int, most: int = 0) -> int:
        """Like `Bucket.fetch`; where a server knows no parts, all of it comes, of up to ``most`` bytes."""
        for _ in range(MAX_REDIRECTS):
            answer = _ask(self._client, url, into, start, length, most=most, headers=NAMED)
            if answer.status not in REDIRECTS:
                return _whole(answer, start, length)
            url = _redirected(url, answer)
        raise CloudError("TooManyRedirects", "it leads from one address to the next")


def _ask(
    client: Client, url: str, into: Target, start: int, length: int, *, most: int = 0, headers: Mapping[str, str]
) -> Response:
    """Bytes ``start`` to ``start + length``, asked for again where the connection breaks."""
    headers = {**headers, "range": f"bytes={start}-{start + length - 1}"}
    limit = max(length, most)
    try:
        return client.call("GET", url, headers, into=into, limit=limit, timeout=SILENCE, attempts=PART_ATTEMPTS)
    except CloudError as error:
        if error.status == 416 and start == 0:  # of nothing there is no part
            return Response(206, {"content-range": "bytes */0"}, b"")
        raise


def _whole(answer: Response, start: int, length: int) -> int:
    """How many bytes there are in all, where the answer is a part from ``start`` on."""
    if answer.status == 200 and start == 0:  # it is served by somebody who knows no parts
        return answer.size
    whole = answer.headers.get("content-range", "").rpartition("/")[2]
    if answer.status != 206 or not whole.isdigit() or answer.size > length:
        raise CloudError("BadAnswer", "the answer is not the part that was asked for")
    return int(whole)


def _redirected(url: str, answer: Response) -> str:
    there = urljoin(url, answer.headers.get("location", ""))
    if urlsplit(there).scheme not in {urlsplit(url).scheme, "https"}:
        raise CloudError("BadRedirect", f"it leads to {there[:200]!r}")
    return there


def _value(document: bytes, name: str) -> str:
    found = re.search(f"<{name}>([^<]+)</{name}>".encode(), document)
    if not found:
        raise CloudError("BadAnswer", f"no {name} in the answer")
    return found.group(1).decode()
