"""What is done with usage when something happens to runs and workspaces."""

from __future__ import annotations


def connect() -> None:
    """Subscribe; called once, when Django has loaded."""
