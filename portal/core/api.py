"""What every route of the API shares: pages of a list, and errors of one shape."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.db.models import ProtectedError
from django.http import Http404
from django.utils.dateparse import parse_datetime
from redis import RedisError
from rest_framework import exceptions, status
from rest_framework.pagination import CursorPagination
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import set_rollback

from portal.core.errors import Busy, Conflict, Invalid, OrcaError

logger = logging.getLogger(__name__)
_CODES: dict[int, str] = {
    status.HTTP_400_BAD_REQUEST: "invalid",
    status.HTTP_401_UNAUTHORIZED: "not_authenticated",
    status.HTTP_403_FORBIDDEN: "forbidden",
    status.HTTP_404_NOT_FOUND: "not_found",
    status.HTTP_405_METHOD_NOT_ALLOWED: "method_not_allowed",
    status.HTTP_406_NOT_ACCEPTABLE: "not_acceptable",
    status.HTTP_415_UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    status.HTTP_429_TOO_MANY_REQUESTS: "throttled",
}
_HINTS: dict[int, str] = {
    status.HTTP_401_UNAUTHORIZED: "Send “Authorization: Bearer <token>”; make a token on your account page.",
}


class CursorPages(CursorPagination):
    """Pages that stay right while rows are added: the newest first, ``page_size`` up to 200."""

    ordering = ("-created_at", "-id")
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200

    def decode_cursor(self, request: Request) -> Any:
        """Where the page begins. Raises ``Invalid`` for what no answer of ours can have said."""
        try:
            cursor = super().decode_cursor(request)
            if cursor is not None and cursor.position is not None and not _is_instant(str(cursor.position)):
                raise exceptions.NotFound
        except exceptions.NotFound as error:
            raise Invalid(
                "This page does not exist.",
                code="invalid_cursor",
                hint="Take “next” and “previous” as an answer gives them, or begin without a cursor.",
                fields={"cursor": "not one of ours"},
                status=status.HTTP_400_BAD_REQUEST,
            ) from error
        return cursor


def _is_instant(text: str) -> bool:
    try:
        found = parse_datetime(text)
        if found is None or found.tzinfo is None:
            return False
        found.astimezone(UTC)
    except (ValueError, OverflowError):
        return False
    return True


def problem(code: str, message: str, hint: str = "", fields: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The body of an error. It may quote what was sent, and so must do without what UTF-8 cannot carry."""
    said = {_sendable(name): _sendable(text) for name, text in (fields or {}).items()}
    return {"code": code, "message": _sendable(message), "hint": _sendable(hint), "fields": said}


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def problem_response(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler. None for what is a fault of ours, which becomes a logged 500.

    A problem is JSON, whatever the answer would have been.
    """
    request = context["request"]
    request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
    if isinstance(error, OperationalError | RedisError):
        logger.exception("what stands behind the API does not answer")
        error = Busy("Orca is busy with itself just now.", hint="Ask again in a moment.")
    if isinstance(error, ProtectedError):
        error = Conflict("Something else still needs this.", code="in_use", hint="Remove what uses it first.")
    if isinstance(error, OrcaError):
        set_rollback()
        body = problem(error.code, error.message, error.hint, error.fields)
        return Response(body, status=error.status, headers=retry_headers(error))
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if not isinstance(error, exceptions.APIException):
        return None
    set_rollback()
    headers = {"WWW-Authenticate": getattr(error, "auth_header", None), "Retry-After": _wait_of(error)}
    given = {name: value for name, value in headers.items() if value}
    return Response(_described(error), status=error.status_code, headers=given)


def _wait_of(error: exceptions.APIException) -> str:
    wait = getattr(error, "wait", None)
    return "" if wait is None else str(int(wait) + 1)


def retry_headers(error: OrcaError) -> dict[str, str]:
    """When to come back, for the errors that know."""
    wait = getattr(error, "retry_after", None)
    return {} if wait is None else {"Retry-After": str(int(wait))}


def _described(error: exceptions.APIException) -> dict[str, Any]:
    code = _CODES.get(error.status_code, "error")
    hint = _HINTS.get(error.status_code, "")
    if isinstance(error, exceptions.ValidationError):
        fields = flat_fields(error.detail)
        general = fields.pop("", "")
        return problem(code, general or "Some of what you sent cannot be accepted.", hint, fields)
    return problem(code, _text_of(error.detail), hint)


def flat_fields(detail: Any, path: str = "") -> dict[str, str]:
    """``{"a.0.b": "what is wrong"}`` of DRF's nested details; what concerns no field stands under ``""``."""
    if isinstance(detail, Mapping):
        pairs = [(name, part) for name, part in detail.items() if part]
    elif isinstance(detail, list) and any(isinstance(part, Mapping | list) for part in detail):
        pairs = [(str(index), part) for index, part in enumerate(detail) if part]
    else:
        return {path: _text_of(detail)}
    found: dict[str, str] = {}
    for name, part in pairs:
        step = "" if name == "non_field_errors" else str(name)
        found |= flat_fields(part, ".".join(filter(None, (path, step))))
    return found


def _text_of(detail: Any) -> str:
    if isinstance(detail, list):
        return " ".join(str(part) for part in detail)
    if isinstance(detail, Mapping):
        return " ".join(str(part) for part in detail.values())
    return str(detail)


def document_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """drf-spectacular's hook: every operation may answer with a problem."""
    text = {"type": "string"}
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = {
        "type": "object",
        "description": "The shape of every error.",
        "required": ["code", "message", "hint", "fields"],
        "properties": {
            "code": text | {"description": "Stable, for programs."},
            "message": text | {"description": "One sentence, for people."},
            "hint": text | {"description": "What to do next; may be empty."},
            "fields": {
                "type": "object",
                "additionalProperties": text,
                "description": "What is wrong with which input.",
            },
        },
    }
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, operations in result.get("paths", {}).items():
        for method, operation in operations.items():
            for code, meaning in _problems_of(method, "{" in path).items():
                operation["responses"].setdefault(code, {"description": meaning, "content": content})
    return result


def _problems_of(method: str, has_id: bool) -> dict[str, str]:
    found = {
        "400": "The request cannot be read.",
        "401": "Who is asking is not known.",
        "403": "This is not allowed.",
        "429": "Too much at once; `Retry-After` says when to come back.",
    }
    if has_id or method == "post":
        found["404"] = "It, or something that it names, does not exist or is not yours."
    if method != "get":
        found |= {
            "409": "The state of things does not allow it now.",
            "415": "The content type is not understood.",
            "422": "What was sent cannot be accepted; `fields` says why.",
            "502": "The cloud refused or failed.",
        }
    return found
