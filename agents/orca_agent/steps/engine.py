"""The Docker engine of this instance, spoken to over its Unix socket."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any, Dict, Final, Iterator, List, Mapping, Optional, Tuple, Union
from urllib.parse import quote, urlencode

TIMEOUT: Final = 60.0
SOCKETS: Final = ("run/docker.sock", "var/run/docker.sock")
MAX_ANSWER: Final = 16 * 1024 * 1024
MAX_HEAD: Final = 64 * 1024
VARIABLES: Final = ("ORCA_DOCKER_HOST", "DOCKER_HOST")
UNIX: Final = "unix://"

Body = Union[None, bytes, IO[bytes], Mapping[str, object]]
Query = Mapping[str, object]


class EngineError(Exception):
    """The engine refused, with an HTTP status, or did not answer: status 0."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class _Connection(http.client.HTTPConnection):
    """HTTP to a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def socket_path(environment: Mapping[str, str], root: Path = Path("/")) -> Optional[str]:
    """Where the engine should listen: as the environment says, else where it is by custom. None: nowhere.

    An engine that is not on this instance is none of ours.
    """
    for name in VARIABLES:
        named = environment.get(name, "")
        if named:
            return named[len(UNIX) :] if named.startswith(UNIX) else None
    found = [str(root / name) for name in SOCKETS if (root / name).is_socket()]
    return found[0] if found else None


class Engine:
    """One engine. Any thread may call; every call has a connection of its own. Raises `EngineError`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._prefix = ""

    def answers(self) -> bool:
        """Whether there is an engine, now; learns which version of its language it speaks."""
        try:
            with self.stream("GET", "/_ping", timeout=5.0) as answer:
                answer.read()
                version = answer.getheader("Api-Version", "")
        except EngineError:
            return False
        self._prefix = f"/v{version}" if version else ""
        return True

    def call(
        self,
        method: str,
        path: str,
        query: Optional[Query] = None,
        body: Body = None,
        *,
        timeout: float = TIMEOUT,
    ) -> Any:
        """One request; its answer read as JSON, None where it is empty."""
        with self.stream(method, path, query, body, timeout=timeout) as answer:
            try:
                data = answer.read(MAX_ANSWER)
            except (OSError, http.client.HTTPException) as error:
                raise EngineError(f"the container engine broke off: {error}") from error
        try:
            return json.loads(data) if data.strip() else None
        except ValueError as error:
            raise EngineError("the container engine answered with something that is no JSON") from error

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        query: Optional[Query] = None,
        body: Body = None,
        *,
        timeout: float = TIMEOUT,
        headers: Optional[Mapping[str, str]] = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """One request; its answer to be read piece by piece. `hang_up` breaks that off from another thread."""
        sent = {"Content-Type": "application/x-tar", **(headers or {})}
        if isinstance(body, Mapping):
            body, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        with closing(_Connection(self._path, timeout)) as connection:
            try:
                connection.request(method, self._target(path, query), body, sent)
                opened = connection.sock
                answer = connection.getresponse()
                if answer.status >= 400:
                    raise EngineError(_message(answer.read(MAX_HEAD)), answer.status)
            except (OSError, http.client.HTTPException) as error:
                raise EngineError(f"the container engine does not answer: {error}") from error
            answer.opened = opened  # type: ignore[attr-defined]
            yield answer

    def attach(self, container: str) -> Tuple[socket.socket, bytes]:
        """The connection on which a container's output comes, in frames, and what has come of it already."""
        query = {"stream": 1, "stdout": 1, "stderr": 1}
        target = self._target(f"/containers/{container}/attach", query)
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            opened.settimeout(TIMEOUT)
            opened.connect(self._path)
            head = f"POST {target} HTTP/1.1\r\nHost: docker\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n"
            opened.sendall(f"{head}Content-Length: 0\r\n\r\n".encode())
            received = b""
            while b"\r\n\r\n" not in received:
                data = opened.recv(4_096)
                if not data or len(received) > MAX_HEAD:
                    raise EngineError("the container engine does not show what the program prints")
                received += data
            first, rest = received.split(b"\r\n\r\n", 1)
            if first.split(None, 2)[1:2] not in ([b"101"], [b"200"]):
                raise EngineError(_message(rest))
        except OSError as error:
            opened.close()
            raise EngineError(f"the container engine does not answer: {error}") from error
        except EngineError:
            opened.close()
            raise
        opened.settimeout(None)
        return opened, rest

    def _target(self, path: str, query: Optional[Query]) -> str:
        asked = {name: _text(value) for name, value in (query or {}).items()}
        return self._prefix + quote(path, safe="/:") + (f"?{urlencode(asked)}" if asked else "")

    # --- what several of ours ask

    def image(self, name: str) -> Optional[Dict[str, Any]]:
        """What the engine knows of an image; None where it has none of that name or id."""
        try:
            found: Dict[str, Any] = self.call("GET", f"/images/{name}/json")
        except EngineError as error:
            if error.status == 404:
                return None
            raise
        return found

    def container(self, container: str, *, size: bool = False) -> Dict[str, Any]:
        found: Dict[str, Any] = self.call("GET", f"/containers/{container}/json", {"size": size})
        return found

    def containers(self, label: str) -> List[str]:
        """The ids of all containers with a label, those that have ended too."""
        found = self.call("GET", "/containers/json", {"all": True, "filters": {"label": [label]}})
        return [str(each["Id"]) for each in found]

    def kill(self, container: str, signal: str) -> None:
        """One that has ended already is no error."""
        self._leniently("POST", f"/containers/{container}/kill", {"signal": signal})

    def remove(self, container: str) -> None:
        """Kill it, and leave nothing of it; one that is gone already is no error."""
        self._leniently("DELETE", f"/containers/{container}", {"force": True, "v": True})

    def _leniently(self, method: str, path: str, query: Query) -> None:
        try:
            self.call(method, path, query)
        except EngineError as error:
            if error.status not in {404, 409}:
                raise


def hang_up(answer: http.client.HTTPResponse) -> None:
    """Break off what `Engine.stream` is reading."""
    opened: Optional[socket.socket] = getattr(answer, "opened", None)
    if opened is not None:
        try:
            opened.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace").strip()[:1_000] or "it gave no reason"
