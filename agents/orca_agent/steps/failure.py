"""Why a step ends before its script does."""

from __future__ import annotations


class StepFailed(Exception):
    """The step has failed for the given reason (`events.Reason`); the message is for its owner."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class StepStopped(Exception):
    """The step was told to stop while it was being prepared or its outputs were stored."""
