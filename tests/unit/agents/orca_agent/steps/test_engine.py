"""What is said to a Docker engine over its socket, and what of its answers is believed."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.orca_agent.steps.engine import Engine, EngineError, socket_path


@contextlib.contextmanager
def answering(folder: Path, *answers: bytes) -> Iterator[tuple[Engine, list[bytes]]]:
    """An engine that gives these answers, one a connection, and what it was asked."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s"))
        server.listen()

        def serve() -> None:
            for answer in answers:
                connection, _ = server.accept()
                with connection:
                    asked.append(request_of(connection))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Engine(str(folder / "s")), asked
        thread.join(5)


def request_of(connection: socket.socket) -> bytes:
    """All of a request: who answers earlier and leaves breaks the other's pipe."""
    request = connection.recv(65_536)
    length = re.search(rb"content-length: (\d+)", request, re.IGNORECASE)
    whole = request.index(b"\r\n\r\n") + 4 + (int(length.group(1)) if length else 0)
    while len(request) < whole:
        request += connection.recv(65_536)
    return request


def answer(status: str, body: bytes, *headers: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers))
    return head.encode() + b"\r\n" + body


def test_the_version_that_the_engine_names_is_spoken(tmp_path: Path) -> None:
    with answering(tmp_path, answer("200 OK", b"OK", "Api-Version: 1.41"), answer("200 OK", b'{"Id": "x"}')) as made:
        engine, asked = made
        assert engine.answers()
        assert engine.image("orca/python:1") == {"Id": "x"}
        assert asked[1].startswith(b"GET /v1.41/images/orca/python:1/json HTTP/1.1\r\n")


def test_a_refusal_carries_the_reason(tmp_path: Path) -> None:
    with answering(tmp_path, answer("500 Oh", b'{"message": "no space left"}')) as (engine, _):
        with pytest.raises(EngineError, match="no space left") as raised:
            engine.call("POST", "/containers/create", None, {"Image": "x"})
        assert raised.value.status == 500


def test_what_is_not_there_is_none_or_no_error(tmp_path: Path) -> None:
    missing = answer("404 Not Found", b'{"message": "no such thing"}')
    with answering(tmp_path, missing, missing, missing) as (engine, _):
        assert engine.image("x") is None
        engine.kill("x", "SIGKILL")
        engine.remove("x")


@pytest.mark.parametrize("garbage", [b"", b"nonsense\r\n\r\n", answer("200 OK", b"{no json")])
def test_an_engine_that_talks_nonsense_is_an_error(tmp_path: Path, garbage: bytes) -> None:
    with answering(tmp_path, garbage) as (engine, _), pytest.raises(EngineError):
        engine.call("GET", "/info")


def test_output_that_came_with_the_head_is_kept(tmp_path: Path) -> None:
    with answering(tmp_path, b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\nearly") as (engine, asked):
        opened, rest = engine.attach("abc")
        opened.close()
        assert rest == b"early"
        assert b"POST /containers/abc/attach?stream=1&stdout=1&stderr=1 HTTP/1.1\r\n" in asked[0]


def test_a_container_that_cannot_be_attached_to_is_an_error(tmp_path: Path) -> None:
    refused = answer("404 Not Found", b'{"message": "no such container"}')
    with answering(tmp_path, refused) as (engine, _), pytest.raises(EngineError, match="no such container"):
        engine.attach("abc")


def test_no_engine_no_answer(tmp_path: Path) -> None:
    assert not Engine(str(tmp_path / "nothing")).answers()


def test_where_the_engine_is(tmp_path: Path) -> None:
    assert socket_path({}, tmp_path) is None
    assert socket_path({"DOCKER_HOST": "tcp://10.0.0.1:2375"}, tmp_path) is None
    assert socket_path({"DOCKER_HOST": "unix:///a", "ORCA_DOCKER_HOST": "unix:///b"}, tmp_path) == "/b"
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "run/docker.sock"))
        assert socket_path({}, tmp_path) == str(tmp_path / "run/docker.sock")
