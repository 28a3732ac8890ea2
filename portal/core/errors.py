"""The one error type that services raise and that pages and the API translate, once each."""

from __future__ import annotations

from collections.abc import Mapping


class OrcaError(Exception):
    """Something that a person or a program has to be told.

    ``code`` is stable and machine-readable, ``message`` says in one sentence what happened, ``hint`` what to do
    next, ``fields`` names the offending inputs, ``status`` is the HTTP status that fits.
    """

    status = 400
    code = "error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str = "",
        fields: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.hint = hint
        self.fields = dict(fields or {})
        self.status = status or self.status


class Invalid(OrcaError):
    """The caller sent something that cannot be accepted."""

    status = 422
    code = "invalid"


class NotFound(OrcaError):
    """It does not exist, or belongs to someone else: the two are never told apart."""

    status = 404
    code = "not_found"


class Conflict(OrcaError):
    """The state of the thing does not allow this now."""

    status = 409
    code = "conflict"


class LimitReached(OrcaError):
    """A quota or rate is used up."""

    status = 429
    code = "limit_reached"


class CloudFault(OrcaError):
    """The cloud refused or failed; ``retryable`` tells whether the same call may work later."""

    status = 502
    code = "cloud_fault"

    def __init__(self, message: str, *, code: str | None = None, hint: str = "", retryable: bool = False) -> None:
        super().__init__(message, code=code, hint=hint)
        self.retryable = retryable


class Busy(OrcaError):
    """What stands behind the portal (its database, Redis) does not answer. Asking again, with the same key, is safe."""

    status = 503
    code = "busy"
    retry_after = 1
