"""Follows what the portal wants: polls one small object, and acts when it has changed."""

from __future__ import annotations

import logging
import threading
from typing import Callable, Final

from agents.orca_agent.cloud.bucket import Bucket
from agents.orca_agent.cloud.client import backoff
from agents.orca_agent.cloud.errors import CloudError, Missing
from agents.orca_agent.fields import Malformed
from agents.orca_agent.orders import Desired, parse_desired
from agents.orca_agent.protocol import DESIRED_POLL_SECONDS
from agents.orca_agent.settings import DESIRED_KEY

log = logging.getLogger(__name__)

LONGEST_PAUSE: Final = 30.0


class DesiredState:
    """A thread that calls ``apply`` with each new state, and again after ``apply`` has raised."""

    def __init__(self, bucket: Bucket, apply: Callable[[Desired], object]) -> None:
        self._bucket = bucket
        self._apply = apply
        self._etag = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="desired", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def poll(self) -> None:
        """Look once. Raises `CloudError`, `Malformed`, or what ``apply`` raises."""
        try:
            found = self._bucket.get_if_changed(DESIRED_KEY, self._etag)
        except Missing:
            return  # the portal has not wanted anything yet
        if found is not None:
            self._apply(parse_desired(found.body))
            self._etag = found.etag

    def _run(self) -> None:
        failures = 0
        while True:
            try:
                self.poll()
                failures = 0
            except (CloudError, Malformed) as error:
                failures += 1
                if failures in {3, 30, 300}:
                    log.warning("the desired state cannot be read: %s", error)
            except Exception:
                failures += 1
                log.exception("the desired state cannot be applied")
            pause = DESIRED_POLL_SECONDS + (backoff(failures, LONGEST_PAUSE) if failures else 0.0)
            if self._stop.wait(pause):
                return
