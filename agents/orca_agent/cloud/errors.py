"""What can go wrong between the agent and AWS."""

from __future__ import annotations


class CloudError(Exception):
    """AWS refused a call, or could not be reached (status 0). ``retryable``: the same call may work later.

    ``retry_after``: seconds for which it asks to be left alone.
    """

    def __init__(
        self, code: str, message: str, *, status: int = 0, retryable: bool = False, retry_after: float = 0.0
    ) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after


class Missing(CloudError):
    """The object, bucket or queue does not exist (yet), or may not be seen."""
