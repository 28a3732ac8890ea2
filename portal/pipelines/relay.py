"""The loop between the events queue and the database.

A message is acknowledged when it has been applied, or when it will never be: a bad signature or a shape that cannot be
read. Everything else (a busy database, a cloud that does not answer) leaves it in the queue for another try.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from django.db import DatabaseError, OperationalError, close_old_connections, connection

from agents.orca_agent import protocol
from portal.core.errors import CloudFault
from portal.gateways import aws_queue
from portal.pipelines import sweeps
from portal.pipelines.reports import Overtaken, Signers, envelope_open, envelopes_apply

logger = logging.getLogger(__name__)
WAIT_SECONDS = 10
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 1.0


class Relay:
    """Hears and applies until ``stopping`` is set."""

    def __init__(self, stopping: threading.Event) -> None:
        self.stopping = stopping
        self.pause = FIRST_PAUSE
        self.well = False

    def run(self) -> None:
        """Go on until told to stop; faults pass, with pauses that grow."""
        logger.info("the relay listens")
        while not self.stopping.is_set():
            try:
                self.turn() if self.well else self.resume()
            except (CloudFault, DatabaseError) as error:
                self.well = False
                logger.warning("the relay waits %.1f s: %s", self.pause, error)
                self.stopping.wait(self.pause)
                self.pause = min(self.pause * 2, LONGEST_PAUSE)
        logger.info("the relay has stopped")

    def resume(self) -> None:
        """The first turn, and the first after a fault: what a predecessor left, or could not be sent, waits no more."""
        self.turn(wait_seconds=0)
        sweeps.tasks_sweep()
        self.well, self.pause = True, FIRST_PAUSE

    def turn(self, wait_seconds: int = WAIT_SECONDS) -> int:
        """Receive once and apply what came; how many messages. Raises what makes another try worth while."""
        close_old_connections()
        connection.ensure_connection()  # each receipt in vain brings a message nearer to being put aside
        messages = aws_queue.receive_events(wait_seconds)
        signers = Signers()
        opened: list[tuple[aws_queue.Incoming, protocol.Envelope]] = []
        done: list[aws_queue.Incoming] = []
        for message in messages:
            try:
                opened.append((message, envelope_open(body=message.body, signers=signers)))
            except protocol.ProtocolError as error:
                logger.warning("an event message was dropped: %s: %s", error.code, error)
                done.append(message)
        try:
            if opened:
                done += self._applied(opened, signers)
        finally:
            aws_queue.delete_events(done)
        return len(done)

    def _applied(
        self, opened: Sequence[tuple[aws_queue.Incoming, protocol.Envelope]], signers: Signers
    ) -> list[aws_queue.Incoming]:
        """Apply all together; where that does not work, one by one, so that none holds up the others."""
        try:
            envelopes_apply(envelopes=[envelope for _, envelope in opened], signers=signers)
        except OperationalError:
            raise
        except Exception as error:
            if not isinstance(error, Overtaken):
                logger.exception("%d messages together", len(opened))
            return [message for message, envelope in opened if self._applied_alone(envelope)]
        return [message for message, _ in opened]

    def _applied_alone(self, envelope: protocol.Envelope) -> bool:
        for _ in range(3):
            try:
                envelopes_apply(envelopes=[envelope], signers=Signers())
            except Overtaken:
                continue
            except OperationalError:
                raise
            except Exception:
                logger.exception("a message of %s stays in the queue", envelope.workspace)
                return False
            return True
        return False
