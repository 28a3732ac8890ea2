"""A Docker engine for each instance to look at: a Unix socket inside of it, and behind that this machine's engine.

See ``engine_rules`` for what passes. Containers of an instance die with it, as they would with a machine of its own.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import shutil
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from agents.local_cloud.instances import engine_rules
from agents.local_cloud.instances.engine_rules import OWNER, Call, Folders, Refused

SOCKET = "docker.sock"
BLOCK = 1 << 18
MAX_BODY = 1 << 20
TIMEOUT = 60.0
WAIT = 0.5
LINGER = 2.0
_NAMES = ("ORCA_DOCKER_HOST", "DOCKER_HOST")
_USUAL = "/var/run/docker.sock"
_ALONE = {"connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade"}


class _Engine(http.client.HTTPConnection):
    """One connection to this machine's engine."""

    def __init__(self, path: str, timeout: float | None = TIMEOUT) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def find_engine(environment: Mapping[str, str]) -> str:
    """The socket of this machine's engine, if one answers; else ""."""
    named = next((environment[name] for name in _NAMES if environment.get(name)), "unix://" + _USUAL)
    path = named.removeprefix("unix://")
    if path == named:
        return ""
    try:
        with contextlib.closing(_Engine(path, 5.0)) as engine:
            engine.request("GET", "/_ping")
            return path if engine.getresponse().status == 200 else ""
    except (OSError, http.client.HTTPException):
        return ""


class EngineDoor:
    """The socket of one instance, in ``folder``, from its boot until it goes down."""

    def __init__(self, instance_id: str, engine: str, folder: Path, folders: Folders) -> None:
        self.instance_id = instance_id
        self.folders = folders
        self.marks: set[int] = set()
        self._engine = engine
        self._remove_containers()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        self._server = _listen(folder, self)
        threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name=f"engine {instance_id}", daemon=True
        ).start()

    def close(self) -> None:
        """Stop answering, and end what the instance has left running."""
        self._server.shutdown()
        self._server.server_close()
        self._remove_containers()

    def _remove_containers(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            query = urlencode({"all": 1, "filters": json.dumps({"label": [f"{OWNER}={self.instance_id}"]})})
            for found in json.loads(self.ask("GET", f"/containers/json?{query}")):
                self.ask("DELETE", f"/containers/{found['Id']}?force=1&v=1")

    def ask(self, method: str, target: str) -> bytes:
        """A short question to the engine. Raises ``OSError`` or ``HTTPException``."""
        with contextlib.closing(self.connect()) as engine:
            engine.request(method, target)
            return engine.getresponse().read()

    def connect(self, timeout: float | None = TIMEOUT) -> _Engine:
        return _Engine(self._engine, timeout)

    def check_own(self, container: str) -> None:
        """Raises `Refused` for a container of somebody else's, as for one that there is not."""
        try:
            found = json.loads(self.ask("GET", f"/containers/{container}/json"))
            own = engine_rules.is_own(found, self.instance_id, self.marks)
        except (ValueError, KeyError):
            own = False
        if not own:
            raise LookupError(f"No such container: {container}")


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


def _listen(folder: Path, door: EngineDoor) -> _Server:
    """Bound by way of the folder's descriptor: a path may be too long for a socket."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        server = _Server(f"/proc/self/fd/{descriptor}/{SOCKET}", _handler(door))
    finally:
        os.close(descriptor)
    (folder / SOCKET).chmod(0o600)
    return server


def _handler(door: EngineDoor) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        pass

    Handler.door = door
    return Handler


class _Handler(BaseHTTPRequestHandler):
    """One request a connection, or one connection that becomes the container's output."""

    door: EngineDoor
    protocol_version = "HTTP/1.1"
    timeout = None

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: agents ask often."""

    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def do_DELETE(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        self.close_connection = True
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        try:
            if not _is_root(self.connection):
                raise Refused("only root of the instance may ask its engine")
            call = engine_rules.understand(self.command, parts.path)
            if call.container:
                self.door.check_own(call.container)
            body = self._body(call, query)
        except Refused as error:
            self._say(403, str(error))
            return
        except (LookupError, ValueError) as error:
            self._say(404 if isinstance(error, LookupError) else 400, str(error))
            return
        except (OSError, http.client.HTTPException) as error:
            self._say(503, f"this machine's engine does not answer: {error}")
            return
        target = quote(parts.path, safe="/:@") + (f"?{urlencode(query)}" if query else "")
        with contextlib.suppress(OSError, http.client.HTTPException):
            if call.kind == "attach":
                self._join(target)
            elif call.kind == "build":
                self._build(query["t"], target, body)
            else:
                self._forward(target, body, long=call.kind in ("build", "pull"))

    def _body(self, call: Call, query: dict[str, str]) -> bytes | Iterator[bytes] | None:
        """What is sent on; ``query`` is made to say what may be asked. Raises `Refused`."""
        if call.kind == "build":
            self.door.marks.add(engine_rules.check_build(query))
            return self._blocks()
        if call.kind == "pull":
            engine_rules.check_pull(query)
        if call.kind == "list":
            query["filters"] = _only_own(query.get("filters", "{}"), self.door.instance_id)
        if call.kind == "create":
            if query:
                raise Refused("containers have no names")
            asked = json.loads(self._read())
            return json.dumps(engine_rules.closed_in(asked, self.door.folders, self.door.instance_id)).encode()
        if call.kind == "update":
            asked = json.loads(self._read())
            engine_rules.check_update(asked)
            return json.dumps(asked).encode()
        return None

    def _length(self) -> int:
        return int(self.headers.get("Content-Length") or 0)

    def _read(self) -> bytes:
        if self._length() > MAX_BODY:
            raise Refused("that is too much")
        return self.rfile.read(self._length())

    def _blocks(self) -> Iterator[bytes]:
        left = self._length()
        while left > 0:
            block = self.rfile.read(min(BLOCK, left))
            if not block:
                raise OSError("the instance broke off")
            left -= len(block)
            yield block

    def _build(self, tag: str, target: str, body: bytes | Iterator[bytes] | None) -> None:
        """One build of a tag at a time, whose ever it is: the next finds every layer there, and gets the same image."""
        with _turns.lock:
            turn = _turns.of_tag.setdefault(tag, threading.Lock())
        if turn.acquire(blocking=False):
            try:
                self._forward(target, body, long=True)
            finally:
                turn.release()
            return
        self._begin(200, {"Content-Type": "application/json"})
        self._tell(stream="Another instance builds the same image: waiting for that.\n")
        while not turn.acquire(timeout=WAIT):
            if _has_gone(self.connection):
                return
        try:
            self._forward(target, body, long=True, begun=True)
        finally:
            turn.release()

    def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _ALONE:
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()

    def _tell(self, **said: str) -> None:
        """A line as the engine writes them during a build."""
        self.wfile.write(json.dumps(said).encode() + b"\n")

    def _forward(self, target: str, body: bytes | Iterator[bytes] | None, *, long: bool, begun: bool = False) -> None:
        """``long``: when the one who asks goes, the engine is told. ``begun``: the answer has been begun already."""
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _ALONE}
        if body is not None:
            headers["Content-Length"] = str(len(body) if isinstance(body, bytes) else self._length())
        with contextlib.closing(self.door.connect(None)) as engine:
            engine.request(self.command, target, body, headers)
            if long:
                threading.Thread(target=_hang_up_with, args=(self.connection, engine.sock), daemon=True).start()
            answer = engine.getresponse()
            if not begun:
                self._begin(answer.status, dict(answer.getheaders()))
            elif answer.status >= 400:
                self._tell(error=str(json.loads(answer.read())["message"]))
            while block := answer.read1(BLOCK):
                self.wfile.write(block)
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)  # which also ends the thread that waits for it

    def _join(self, target: str) -> None:
        """What the container prints, until either side has gone."""
        with contextlib.closing(self.door.connect(None)) as engine:
            engine.connect()
            head = f"POST {target} HTTP/1.1\r\nHost: docker\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n"
            engine.sock.sendall(f"{head}Content-Length: 0\r\n\r\n".encode())
            while True:
                ready, _, _ = select.select([engine.sock, self.connection], [], [])
                if self.connection in ready:  # it has nothing to say, so it has gone
                    return
                data = engine.sock.recv(BLOCK)
                if not data:
                    return
                self.connection.sendall(data)

    def _say(self, status: int, message: str) -> None:
        body = json.dumps({"message": message}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self._hear_out()

    def _hear_out(self) -> None:
        """Who is still sending what is refused has to see the answer, and not a connection that breaks."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(LINGER)
            left = MAX_BODY
            while left > 0 and (block := self.connection.recv(BLOCK)):
                left -= len(block)


class _Turns:
    """Who builds what, of all instances."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.of_tag: dict[str, threading.Lock] = {}


_turns = _Turns()


def _has_gone(asking: socket.socket) -> bool:
    poll = select.poll()
    poll.register(asking, select.POLLRDHUP | select.POLLHUP)
    return bool(poll.poll(0))


def _hang_up_with(asking: socket.socket, engine: socket.socket) -> None:
    """When the one who asks has gone, the engine has to see that: it ends a build for it."""
    with contextlib.suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(asking, select.POLLRDHUP | select.POLLHUP)
        poll.poll()
        engine.shutdown(socket.SHUT_RDWR)


def _only_own(filters: str, instance_id: str) -> str:
    """The caller's filters by label, and that the containers are its own."""
    asked: Any = json.loads(filters)
    labels = asked.get("label", []) if isinstance(asked, dict) else []
    return json.dumps({"label": [*map(str, labels), f"{OWNER}={instance_id}"]})


def _is_root(asking: socket.socket) -> bool:
    _, uid, _ = struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return bool(uid == 0)
