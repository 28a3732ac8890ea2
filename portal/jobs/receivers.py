"""What jobs do when something happens to their runs, in the transaction of the change."""

from __future__ import annotations


def connect() -> None:
    """Subscribe; called once, when Django has loaded."""
