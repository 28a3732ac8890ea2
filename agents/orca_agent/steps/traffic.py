"""What comes to the instance for a step and what goes from it: it costs money."""

from __future__ import annotations

import threading


class Traffic:
    """Bytes; any thread may count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.came = 0
        self.fetched = 0
        self.went = 0

    def comes(self, size: int, own: bool = False) -> None:
        """``own``: from the workspace's own bucket, which is no data out though S3 counts it as downloaded."""
        with self._lock:
            self.came += size
            if own:
                self.fetched += size

    def goes(self, size: int) -> None:
        with self._lock:
            self.went += size

    def claim(self, other: Traffic) -> None:
        """Count here what has come from the own bucket by another count, and there no more.

        The rest is nobody's: a run would pay for what came to another.
        """
        with other._lock:
            fetched = other.fetched
            other.came = other.fetched = 0
        with self._lock:
            self.came += fetched
            self.fetched += fetched
