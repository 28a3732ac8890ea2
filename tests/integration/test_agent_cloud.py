"""The agent's own client of S3, SQS and the metadata service, against moto and a small HTTP server."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from agents.orca_agent.cloud import bucket as bucket_module
from agents.orca_agent.cloud.bucket import S3Bucket
from agents.orca_agent.cloud.client import Client
from agents.orca_agent.cloud.errors import CloudError, Missing
from agents.orca_agent.cloud.metadata import FixedCredentials, Metadata, RoleCredentials
from agents.orca_agent.cloud.queue import SqsQueue
from agents.orca_agent.cloud.signing import Credentials
from agents.orca_agent.cloud.transport import Transport

if TYPE_CHECKING:
    from tests.fixtures.agent import MotoCloud

pytest_plugins = ["tests.fixtures.agent"]

REGION = "eu-central-1"
KEYS = FixedCredentials(Credentials("AKIATEST", "secret"))


def client(service: str, transport: Transport | None = None) -> Client:
    return Client(service, REGION, KEYS, transport or Transport(), pause=lambda seconds: None)


@pytest.fixture
def bucket(moto_cloud: MotoCloud) -> S3Bucket:
    return S3Bucket(moto_cloud.bucket, client("s3"), environment=moto_cloud.environment)


@pytest.fixture
def queue(moto_cloud: MotoCloud) -> SqsQueue:
    return SqsQueue(moto_cloud.tasks_queue, client("sqs"), environment=moto_cloud.environment)


def test_objects_come_back_as_they_were_put(bucket: S3Bucket) -> None:
    key = "runs/a b/größe+%/x=1&y.txt"
    bucket.put(key, b"hello", "text/plain")
    stored = bucket.get(key)
    assert stored.body == b"hello"
    assert bucket.get_if_changed(key, stored.etag) is None
    bucket.put(key, b"other", "text/plain")
    changed = bucket.get_if_changed(key, stored.etag)
    assert changed is not None
    assert changed.body == b"other"


def test_what_is_not_there_is_missing(bucket: S3Bucket, moto_cloud: MotoCloud) -> None:
    with pytest.raises(Missing):
        bucket.get("nothing")
    elsewhere = S3Bucket("orca-nowhere", client("s3"), environment=moto_cloud.environment)
    with pytest.raises(Missing):
        elsewhere.get("nothing")
    with pytest.raises(Missing):
        SqsQueue("no-such.fifo", client("sqs"), environment=moto_cloud.environment).receive(1, wait=0, visibility=10)


def test_a_download_is_bounded(bucket: S3Bucket) -> None:
    bucket.put("large", b"x" * 100_000, "text/plain")
    into = io.BytesIO(b"old content that goes")
    bucket.download("large", into, limit=100_000)
    assert into.getvalue() == b"x" * 100_000
    with pytest.raises(CloudError):
        bucket.download("large", io.BytesIO(), limit=99_999)


def test_large_files_go_in_parts(
    bucket: S3Bucket, moto_cloud: MotoCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "PART", 5 * 1024 * 1024)
    content = os.urandom(12 * 1024 * 1024 + 17)
    (tmp_path / "f").write_bytes(content)
    with (tmp_path / "f").open("rb") as file:
        bucket.upload("parts", file.fileno(), len(content), "image/tiff")
    found = moto_cloud.s3.get_object(Bucket=moto_cloud.bucket, Key="parts")
    assert hashlib.sha256(found["Body"].read()).digest() == hashlib.sha256(content).digest()
    assert found["ContentType"] == "image/tiff"
    assert found["ETag"].strip('"').endswith("-3")


def test_an_upload_that_fails_leaves_no_parts(
    bucket: S3Bucket, moto_cloud: MotoCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "PART", 5 * 1024 * 1024)
    (tmp_path / "f").write_bytes(b"x" * 1024)
    with (tmp_path / "f").open("rb") as file, pytest.raises(CloudError):
        bucket.upload("broken", file.fileno(), 11 * 1024 * 1024, "text/plain")  # shorter than promised
    assert "Uploads" not in moto_cloud.s3.list_multipart_uploads(Bucket=moto_cloud.bucket)


def test_messages_are_received_hidden_and_deleted(queue: SqsQueue, moto_cloud: MotoCloud) -> None:
    moto_cloud.send('{"a": "ü"}', group="g")
    (message,) = queue.receive(10, wait=0, visibility=30)
    assert (message.body, message.receives) == ('{"a": "ü"}', 1)
    assert queue.receive(10, wait=0, visibility=30) == []
    queue.set_visibility(message.receipt, 0)
    (again,) = queue.receive(10, wait=5, visibility=30)
    assert again.receives == 2
    queue.delete(again.receipt)
    assert moto_cloud.depth() == (0, 0)


def test_a_long_poll_can_be_broken_off(moto_cloud: MotoCloud) -> None:
    transport = Transport()
    queue = SqsQueue(moto_cloud.tasks_queue, client("sqs", transport), environment=moto_cloud.environment)
    assert queue.url
    timer = threading.Timer(0.3, transport.abort)
    timer.start()
    started = time.monotonic()
    with pytest.raises(CloudError):
        queue.receive(1, wait=20, visibility=30)
    timer.join()
    assert time.monotonic() - started < 5
    with pytest.raises(CloudError) as caught:
        queue.receive(1, wait=20, visibility=30)
    assert caught.value.code == "Aborted"


class Scripted(BaseHTTPRequestHandler):
    """Answers with what a test has put into ``answers`` for a path; the last answer stays."""

    protocol_version = "HTTP/1.1"
    answers: ClassVar[dict[str, list[tuple[int, str]]]] = {}
    seen: ClassVar[list[tuple[str, str, str]]] = []

    def answer(self) -> None:
        type(self).seen.append((self.command, self.path, self.headers.get("x-aws-ec2-metadata-token", "")))
        left = type(self).answers.get(self.path, [(404, "")])
        status, text = left[0] if len(left) == 1 else left.pop(0)
        body = text.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = answer

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def server() -> Iterator[str]:
    Scripted.answers, Scripted.seen = {}, []
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    listening.daemon_threads = True
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{listening.server_address[1]}"
    listening.shutdown()
    listening.server_close()
    thread.join()


def role_answer(key: str, seconds: float) -> str:
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
    return json.dumps({"AccessKeyId": key, "SecretAccessKey": "s", "Token": "t", "Expiration": expires})


def test_credentials_come_from_a_metadata_service_below_a_path(server: str) -> None:
    Scripted.answers = {
        "/p/latest/api/token": [(200, "tok")],
        "/p/latest/meta-data/iam/security-credentials/": [(404, ""), (200, "role\n")],
        "/p/latest/meta-data/iam/security-credentials/role": [(200, role_answer("K1", 3600))],
    }
    credentials = RoleCredentials(Metadata(f"{server}/p/", Transport()))
    with pytest.raises(CloudError):
        credentials.get()  # the role is not attached yet
    assert credentials.get().access_key == "K1"
    asked = len(Scripted.seen)
    assert credentials.get().access_key == "K1"
    assert len(Scripted.seen) == asked
    assert {token for method, _, token in Scripted.seen if method == "GET"} == {"tok"}


def test_credentials_are_renewed_before_they_expire(server: str) -> None:
    Scripted.answers = {
        "/latest/api/token": [(200, "tok")],
        "/latest/meta-data/iam/security-credentials/": [(200, "role")],
        "/latest/meta-data/iam/security-credentials/role": [
            (200, role_answer("K1", 3600)),
            (500, ""),
            (200, role_answer("K2", 7200)),
        ],
    }
    now = [time.time()]
    credentials = RoleCredentials(Metadata(server, Transport()), clock=lambda: now[0])
    assert credentials.get().access_key == "K1"
    now[0] += 3100
    assert credentials.get().access_key == "K1"  # the service fails, the old ones still hold
    assert credentials.get().access_key == "K2"


def test_an_expired_metadata_token_is_renewed(server: str) -> None:
    Scripted.answers = {
        "/latest/api/token": [(200, "one"), (200, "two")],
        "/latest/meta-data/instance-id": [(401, ""), (200, "i-1")],
    }
    assert Metadata(server, Transport()).read("meta-data/instance-id") == "i-1"
    assert [token for method, _, token in Scripted.seen if method == "GET"] == ["one", "two"]


def test_a_refused_token_is_renewed_and_the_call_repeated(server: str) -> None:
    refused = "<Error><Code>ExpiredToken</Code></Error>"
    Scripted.answers = {"/b/key": [(400, refused), (503, ""), (200, "content")]}
    renewed = []

    class Renewing:
        def get(self, *, renew: bool = False) -> Credentials:
            renewed.append(renew)
            return Credentials("A", "s")

    caller = Client("s3", REGION, Renewing(), Transport(), pause=lambda seconds: None)
    found = S3Bucket("b", caller, environment={"AWS_ENDPOINT_URL": server}).get("key")
    assert found.body == b"content"
    assert renewed == [False, True, False]


def test_a_connection_that_the_server_has_closed_is_opened_again(server: str) -> None:
    Scripted.answers = {"/": [(200, "one")]}
    transport = Transport()
    assert transport.request("GET", f"{server}/", {}).body == b"one"
    ((line,),) = transport._idle.values()
    assert line.connection.sock is not None
    line.connection.sock.shutdown(2)
    assert transport.request("GET", f"{server}/", {}).body == b"one"


def test_an_unreachable_service_is_retried_and_then_told(moto_cloud: MotoCloud) -> None:
    pauses: list[float] = []
    caller = Client("s3", REGION, KEYS, Transport(), pause=pauses.append)
    nowhere = S3Bucket("b", caller, environment={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    with pytest.raises(CloudError) as caught:
        nowhere.get("key", attempts=3)
    assert (caught.value.code, caught.value.retryable, len(pauses)) == ("Unreachable", True, 2)


def test_plain_requests_go_through_a_proxy_but_never_those_to_loopback(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    Scripted.answers = {"http://aws.invalid/x": [(200, "by proxy")], "/x": [(200, "direct")]}
    transport = Transport()
    assert transport.request("GET", "http://aws.invalid/x", {}).body == b"by proxy"
    assert transport.request("GET", f"{server}/x", {}).body == b"direct"
