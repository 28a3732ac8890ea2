"""Refusals that look like AWS's own, in the shape that the caller's protocol expects."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any
from xml.sax.saxutils import escape

StartResponse = Callable[..., Any]

_REQUEST_ID = "00000000-0000-0000-0000-000000000000"


class Fault(Exception):
    """The request is refused: ``code`` and ``message`` as AWS words them, ``status`` the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def access_denied(caller: str, action: str, resource: str = "", why: str = "") -> Fault:
    """The refusal that every service gives to a caller without the permission ``action``."""
    on = f" on resource: {resource}" if resource and resource != "*" else ""
    because = why or f"no identity-based policy allows the {action} action"
    return Fault("AccessDenied", f"User: {caller} is not authorized to perform: {action}{on} because {because}")


def answer(fault: Fault, environ: dict[str, Any], service: str, start_response: StartResponse) -> Iterable[bytes]:
    """A WSGI answer for ``fault`` in the protocol of ``service`` (s3, ec2, query or JSON)."""
    code, message = escape(fault.code), escape(fault.message)
    json_call = "HTTP_X_AMZ_TARGET" in environ or "json" in environ.get("CONTENT_TYPE", "")
    content_type = "application/xml"
    if service == "s3":
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>'
            f"<RequestId>{_REQUEST_ID}</RequestId></Error>"
        )
    elif json_call:
        content_type = "application/x-amz-json-1.0"
        name = fault.code if fault.code.endswith("Exception") else f"{fault.code}Exception"
        body = json.dumps({"__type": name, "message": fault.message})
    elif service == "ec2":
        body = (
            f"<Response><Errors><Error><Code>{_EC2_CODES.get(fault.code, code)}</Code><Message>{message}</Message>"
            f"</Error></Errors><RequestID>{_REQUEST_ID}</RequestID></Response>"
        )
    else:
        body = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            f"<RequestId>{_REQUEST_ID}</RequestId></ErrorResponse>"
        )
    data = body.encode()
    headers = [
        ("Content-Type", content_type),
        ("Content-Length", str(len(data))),
        ("x-amzn-RequestId", _REQUEST_ID),
    ]
    if json_call:
        headers.append(("x-amzn-ErrorType", fault.code))
        if service == "sqs":
            headers.append(("x-amzn-query-error", f"{fault.code};Sender"))
    start_response(f"{fault.status} Refused", headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [data]


_EC2_CODES = {"AccessDenied": "UnauthorizedOperation", "InvalidClientTokenId": "AuthFailure"}
