"""The instance metadata service, version 2 only, one for each running instance.

Bound to the instance's own address, below a path that only the instance is told, since all of them share this
machine's loopback: an instance cannot reach another one's credentials. The role's credentials are made here,
in-process: no call to AssumeRole as ``ec2.amazonaws.com`` is open to anyone.
"""

from __future__ import annotations

import json
import secrets
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agents.local_cloud.access.sessions import Session

USUAL_PORT = 1338
CREDENTIAL_SECONDS = 6 * 3600
RENEW_BEFORE_SECONDS = 3600
_LONGEST_TOKEN_SECONDS = 21600


@dataclass(frozen=True)
class Facts:
    """What an instance may know of itself. ``role`` is (name, profile ARN, profile id), or None."""

    instance_id: str
    instance_type: str
    image_id: str
    account_id: str
    region: str
    zone: str
    address: str
    hostname: str
    user_data: bytes
    role: tuple[str, str, str] | None


class Metadata:
    """Serves the facts that ``facts()`` gives at the time of the question, and credentials that ``issue()`` makes."""

    def __init__(self, address: str, facts: Callable[[], Facts], issue: Callable[[], Session | None]) -> None:
        self._facts = facts
        self._issue = issue
        self._credentials: Session | None = None
        self._tokens: dict[str, float] = {}
        self._lock = threading.Lock()
        self._prefix = "/" + secrets.token_urlsafe(24)
        self._server = _listen(address, self._handler())
        self.endpoint = f"http://{address}:{self._server.server_address[1]}{self._prefix}"
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name=f"imds {address}", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        metadata = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60.0
            # One packet an answer: a body that follows its headers waits 40 ms for the client's acknowledgement.
            wbufsize = -1

            def do_PUT(self) -> None:
                self._answer(metadata.put(self.path, self.headers))

            def do_GET(self) -> None:
                self._answer(metadata.get(self.path, self.headers))

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: clients ask often."""

            def _answer(self, answer: tuple[int, str, dict[str, str]]) -> None:
                status, text, headers = answer
                body = text.encode()
                self.send_response(status)
                kind = "application/json" if text.startswith("{") else "text/plain"
                for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        return Handler

    def put(self, path: str, headers: Any) -> tuple[int, str, dict[str, str]]:
        """A session token: PUT /latest/api/token with the wanted lifetime in a header."""
        header = "X-aws-ec2-metadata-token-ttl-seconds"
        if self._inner(path) != "/latest/api/token":
            return 404, "Not Found", {}
        # IMDS refuses what comes through a proxy.
        if headers.get("X-Forwarded-For"):
            return 403, "Forbidden", {}
        wanted = headers.get(header, "")
        if not wanted.isdigit() or not 1 <= int(wanted) <= _LONGEST_TOKEN_SECONDS:
            return 400, "Bad Request", {}
        token = secrets.token_urlsafe(40)
        now = time.monotonic()
        with self._lock:
            self._tokens = {known: ends for known, ends in self._tokens.items() if ends > now}
            self._tokens[token] = now + int(wanted)
        return 200, token, {header: wanted}

    def get(self, path: str, headers: Any) -> tuple[int, str, dict[str, str]]:
        """A fact; 401 without a valid token."""
        inner = self._inner(path)
        if inner is None:
            return 404, "Not Found", {}
        with self._lock:
            if self._tokens.get(headers.get("X-aws-ec2-metadata-token", ""), 0.0) <= time.monotonic():
                return 401, "Unauthorized", {}
        text = self._answer_to(inner)
        return (404, "Not Found", {}) if text is None else (200, text, {})

    def _inner(self, path: str) -> str | None:
        """The path after the secret prefix; None if it is not below it."""
        plain = path.split("?", 1)[0]
        given, inner = plain[: len(self._prefix)], plain[len(self._prefix) :]
        if not secrets.compare_digest(given.encode(), self._prefix.encode()):
            return None
        return "/" + inner.lstrip("/")

    def _answer_to(self, path: str) -> str | None:
        facts = self._facts()
        if path.startswith("/latest/dynamic/instance-identity/document"):
            return _identity(facts)
        if path == "/latest/user-data":
            return facts.user_data.decode(errors="replace") if facts.user_data else None
        if not path.startswith("/latest/meta-data"):
            return None
        name = path.removeprefix("/latest/meta-data").strip("/")
        if name.startswith("iam/"):
            return self._iam(name, facts)
        table = _table(facts)
        return table.get(name) if name in table else _listing(table, name, facts)

    def _iam(self, name: str, facts: Facts) -> str | None:
        if facts.role is None:
            return None
        role, profile_arn, profile_id = facts.role
        if name == "iam/info":
            known = {"Code": "Success", "LastUpdated": _iso(time.time())}
            return json.dumps({**known, "InstanceProfileArn": profile_arn, "InstanceProfileId": profile_id})
        if name == "iam/security-credentials":
            return role
        if name != f"iam/security-credentials/{role}":
            return None
        session = self._current()
        if session is None:
            return None
        return json.dumps(
            {
                "Code": "Success",
                "LastUpdated": _iso(session.expires - CREDENTIAL_SECONDS),
                "Type": "AWS-HMAC",
                "AccessKeyId": session.access_key_id,
                "SecretAccessKey": session.secret_access_key,
                "Token": session.token,
                "Expiration": _iso(session.expires),
            }
        )

    def _current(self) -> Session | None:
        """The role's credentials, renewed well before they end and whenever the role is another one."""
        fresh = self._issue()
        with self._lock:
            kept = self._credentials
            if (
                kept is None
                or fresh is None
                or kept.owner_id != fresh.owner_id
                or kept.expires - time.time() < RENEW_BEFORE_SECONDS
            ):
                self._credentials = kept = fresh
            return kept


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients may leave when they like; anything else is a fault of ours."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()


def _listen(address: str, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    for port in (USUAL_PORT, 0):
        try:
            return _Server((address, port), handler)
        except OSError:
            continue
    raise OSError(f"no port is free on {address}")


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def _table(facts: Facts) -> dict[str, str]:
    return {
        "ami-id": facts.image_id,
        "hostname": facts.hostname,
        "instance-id": facts.instance_id,
        "instance-life-cycle": "on-demand",
        "instance-type": facts.instance_type,
        "local-hostname": facts.hostname,
        "local-ipv4": facts.address,
        "placement/availability-zone": facts.zone,
        "placement/region": facts.region,
        "public-hostname": facts.hostname,
        "public-ipv4": facts.address,
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
    }


def _listing(table: dict[str, str], name: str, facts: Facts) -> str | None:
    """The names below a folder, as IMDS lists them; None if there is no such folder."""
    names = list(table)
    if facts.role is not None:
        names += ["iam/info", f"iam/security-credentials/{facts.role[0]}"]
    prefix = f"{name}/" if name else ""
    below = {rest.split("/", 1)[0] + ("/" if "/" in rest else "") for rest in _without(prefix, names)}
    return "\n".join(sorted(below)) or None


def _without(prefix: str, names: list[str]) -> list[str]:
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def _identity(facts: Facts) -> str:
    document = {
        "accountId": facts.account_id,
        "architecture": "x86_64",
        "availabilityZone": facts.zone,
        "imageId": facts.image_id,
        "instanceId": facts.instance_id,
        "instanceType": facts.instance_type,
        "privateIp": facts.address,
        "region": facts.region,
        "version": "2017-09-30",
    }
    return json.dumps(document, indent=2)
