"""The error of a search that cannot find."""

from __future__ import annotations

from portal.core.errors import OrcaError


class Unfound(OrcaError):
    """The source cannot be searched; ``retryable`` tells whether the same search may work later."""

    status = 422
    code = "data_unfound"

    def __init__(self, message: str, *, field: str, hint: str = "", retryable: bool = False) -> None:
        super().__init__(message, hint=hint, fields={field: message})
        self.retryable = retryable
