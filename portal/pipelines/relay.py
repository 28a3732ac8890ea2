"""The loop between the events queue and the database.

A message is acknowledged when it has been applied, or when it will never be: a bad signature or a shape that cannot be
read. Everything else (a busy database, a cloud that does not answer) leaves it in the queue for another try.
"""

from __future__ import annotations

import logging
import threading

from django.db import DatabaseError, close_old_connections

from agents.orca_agent import protocol
from portal.core.errors import CloudFault
from portal.gateways import aws_queue
from portal.pipelines.reports import envelope_apply

logger = logging.getLogger(__name__)
WAIT_SECONDS = 10
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0


class Relay:
    """Hears and applies until ``stopping`` is set."""

    def __init__(self, stopping: threading.Event) -> None:
        self.stopping = stopping
        self.pause = FIRST_PAUSE

    def run(self) -> None:
        """Go on until told to stop; faults pass, with pauses that grow."""
        logger.info("the relay listens")
        while not self.stopping.is_set():
            try:
                self.turn()
                self.pause = FIRST_PAUSE
            except (CloudFault, DatabaseError) as error:
                logger.warning("the relay waits %.1f s: %s", self.pause, error)
                self.stopping.wait(self.pause)
                self.pause = min(self.pause * 2, LONGEST_PAUSE)
        logger.info("the relay has stopped")

    def turn(self, wait_seconds: int = WAIT_SECONDS) -> int:
        """Receive once and apply what came; how many messages. Raises what makes another try worth while."""
        close_old_connections()
        messages = aws_queue.receive_events(wait_seconds)
        done: list[aws_queue.Incoming] = []
        try:
            for message in messages:
                self._apply(message.body)
                done.append(message)
        finally:
            aws_queue.delete_events(done)
        return len(done)

    def _apply(self, body: str) -> None:
        try:
            envelope_apply(body=body)
        except protocol.ProtocolError as error:
            logger.warning("an event message was dropped: %s: %s", error.code, error)
