"""The door of the local cloud: every request passes here before moto sees it.

Order: health, refusal of moto's own control pages, signature, authorization of S3, moto under its service's lock,
then the store is told what may have changed.
"""

from __future__ import annotations

import io
import json
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import unquote

from moto.core.responses import BaseResponse
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from agents.local_cloud.access.decisions import permitted
from agents.local_cloud.access.enforcement import Call, Enforcement
from agents.local_cloud.access.policies import Request
from agents.local_cloud.faults import Fault, StartResponse, access_denied, answer

#: What SQS actions about messages begin with.
MESSAGE_ACTIONS = ("SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility")
_FORM_MESSAGE_ACTION = re.compile(b"(^|&)Action=(%s)" % "|".join(MESSAGE_ACTIONS).encode())

_SCOPE = re.compile(r"Credential=[^/,]+/[^/,]+/[^/,]+/([^/,]+)/aws4_request")

HEALTH_PATH = "/_orca/health"


class Recorder(Protocol):
    """Told after each request what it may have changed."""

    def touched(self, service: str, environ: Mapping[str, Any], call: Call, body: bytes, status: int) -> int:
        """The request to moto's package ``service`` has been carried out; its lock is still held.

        What to give to ``wait`` when it is released.
        """

    def wait(self, number: int) -> None:
        """Until it is written down, so that the caller may be answered."""


class Meter(Protocol):
    """Told after each request how much it was."""

    def served(
        self, service: str, environ: Mapping[str, Any], call: Call, *, came: int, went: int, status: int
    ) -> None:
        """Bytes of the request's body and of its answer's."""


class Locks:
    """One lock for S3, one for SQS, and one for all the rest, whose services call each other inside moto without any
    care for threads."""

    def __init__(self) -> None:
        self.control = threading.RLock()
        self._own = {"s3": threading.RLock(), "sqs": threading.RLock()}

    def of(self, service: str) -> AbstractContextManager[object]:
        """The lock of a service."""
        return self._own.get(service, self.control)

    def for_request(self, service: str, environ: Mapping[str, Any], body: bytes) -> AbstractContextManager[object]:
        """The lock to hold while moto answers. Calls about messages need none: each queue has its own."""
        if service == "sqs" and (_about_messages(environ) or _FORM_MESSAGE_ACTION.search(body[:4096])):
            return nullcontext()
        return self.of(service)


def _about_messages(environ: Mapping[str, Any]) -> bool:
    """Whether this is a call about messages, in JSON as today's clients speak."""
    target: str = environ.get("HTTP_X_AMZ_TARGET", "")
    return target.rpartition(".")[2].startswith(MESSAGE_ACTIONS)


class Gate:
    """The WSGI application."""

    def __init__(
        self,
        enforcement: Enforcement,
        locks: Locks,
        recorder: Recorder,
        meter: Meter,
        health: Callable[[], object],
    ) -> None:
        self._enforcement = enforcement
        self._locks = locks
        self._recorder = recorder
        self._meter = meter
        self._health = health
        self._moto = DomainDispatcherApplication(_application)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        path = environ["RAW_URI"].split("?", 1)[0]
        if path == HEALTH_PATH:
            body = json.dumps(self._health()).encode()
            start_response("200 OK", [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
            return [body]
        service = "s3"
        try:
            if path.startswith(("/moto-api", "/latest/", "/favicon.ico")):
                raise Fault("NotFound", "There is nothing here.", 404)
            query = _query(environ)
            body = environ["wsgi.input"].getvalue()
            service = _claimed_service(environ) or service
            call = self._enforcement.begin(environ, query, body)
            return self._serve(environ, start_response, call, query, body)
        except Fault as fault:
            return answer(fault, environ, service, start_response)
        except NotImplementedError as error:
            missing = Fault("NotImplemented", str(error) or "moto does not implement this call.", 501)
            return answer(missing, environ, service, start_response)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            broken = Fault("InternalFailure", f"{type(error).__name__}: {error}", 500)
            return answer(broken, environ, service, start_response)
        finally:
            self._enforcement.end()

    def _serve(
        self,
        environ: dict[str, Any],
        start_response: StartResponse,
        call: Call,
        query: list[tuple[str, str]],
        body: bytes,
    ) -> Iterable[bytes]:
        environ.pop("HTTP_X_MOTO_ACCOUNT_ID", None)
        app: Any = self._moto.get_application(environ)
        service: str = app.service
        if service == "s3":
            self._enforcement.authorize_s3(call, environ, dict(query), body)
        elif not app.hooked:
            _require_whole_service(call)
        if service == "s3" and environ["REQUEST_METHOD"] == "PUT" and "form" in environ.get("CONTENT_TYPE", ""):
            # Flask would take the body for a form (curl calls every body one), and moto would store nothing.
            environ["CONTENT_TYPE"] = "application/octet-stream"
        environ["wsgi.input"] = io.BytesIO(body)
        seen: list[Any] = []

        def remember(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
            seen[:] = [status, headers]

        answer = _straight if service == "sqs" and _about_messages(environ) else _through_flask
        with self._locks.for_request(service, environ, body):
            chunks = answer(app, environ, remember)
            status = int(seen[0].split(None, 1)[0])
            written = self._recorder.touched(service, environ, call, body, status)
        self._recorder.wait(written)
        went = sum(map(len, chunks))
        self._meter.served(service, environ, call, came=len(body), went=went, status=status)
        start_response(seen[0], seen[1])
        return chunks


def _through_flask(app: Any, environ: dict[str, Any], remember: Any) -> list[bytes]:
    """Answer as moto's server does."""
    return list(app(environ, remember))


def _straight(app: Any, environ: dict[str, Any], remember: Any) -> list[bytes]:
    """The same without Flask's routing around it, which costs as much as handing over a message does."""
    request = app.request_class(environ)
    status, headers, body = app.callback(request, request.raw_url, dict(request.headers))
    remember(f"{status} {HTTPStatus(status).phrase}", list(headers.items()))
    return [body.encode() if isinstance(body, str) else body]


def _query(environ: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The query's names and values, decoded; a plus sign is a plus sign, as in a signature."""
    raw = environ["RAW_URI"].partition("?")[2]
    pairs = [pair.partition("=") for pair in raw.split("&") if pair]
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def _claimed_service(environ: Mapping[str, Any]) -> str:
    """The service that the signature is for, whether it holds or not: so that a refusal has the right shape."""
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    return scope[1] if scope else ""


def _application(service: Any) -> Any:
    """moto's application for one service, marked with whether its calls all pass the authorization hook."""
    app: Any = create_backend_app(service)
    callbacks = [getattr(view, "callback", None) for view in app.view_functions.values()]
    app.callback = callbacks[0]
    app.hooked = all(
        getattr(callback, "__name__", "") == "dispatch"
        and getattr(getattr(callback, "__self__", None), "_dispatch", None) is BaseResponse._dispatch
        for callback in callbacks
    )
    return app


def _require_whole_service(call: Call) -> None:
    """Some services of moto skip the hook in places: they are for those who may do everything with them."""
    if not permitted(call.caller, Request(f"{call.service}:*", "*", call.context)):
        raise access_denied(call.caller.arn, f"{call.service}:*")
