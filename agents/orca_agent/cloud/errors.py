"""What can go wrong between the agent and AWS."""

from __future__ import annotations


class CloudError(Exception):
    """AWS refused a call, or could not be reached (status 0). ``retryable``: the same call may work later."""

    def __init__(self, code: str, message: str, *, status: int = 0, retryable: bool = False) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.status = status
        self.retryable = retryable


class Missing(CloudError):
    """The object, bucket or queue does not exist (yet), or may not be seen."""
