"""After a start: what an earlier agent, killed in the middle, has left behind."""

from __future__ import annotations

import logging
import shutil
import signal
import time
from typing import Callable, Final, List

from agents.orca_agent.cloud.errors import CloudError
from agents.orca_agent.cloud.queue import Queue
from agents.orca_agent.ended import Ended
from agents.orca_agent.events import Event
from agents.orca_agent.journal import Guard, Journal, Record, this_machine
from agents.orca_agent.layout import Layout
from agents.orca_agent.steps import processes
from agents.orca_agent.steps.result import finish_unstarted
from agents.orca_agent.work import LEFT_BEHIND

log = logging.getLogger(__name__)

WARDEN_MAY_TAKE: Final = 3.0
POLL: Final = 0.02


def end_leftovers(journal: Journal, layout: Layout) -> List[Record]:
    """Kill what still runs of the steps in the journal, and remove their folders. Needs no network.

    Returns the records, for `return_messages`.
    """
    records = journal.read_all()
    machine = this_machine()
    for record in records:
        if record.machine == machine:
            for guard in record.guards.values():
                _end(guard)
    for left in (*layout.work.iterdir(), *layout.secrets.iterdir()):
        shutil.rmtree(left, ignore_errors=True)
    return records


def _end(guard: Guard) -> None:
    """A warden that sees its agent die ends its step; one that was killed too cannot."""
    until = time.monotonic() + WARDEN_MAY_TAKE
    while processes.is_same(guard.pid, guard.start) and time.monotonic() < until:
        time.sleep(POLL)

    def find() -> List[processes.Process]:
        found = [process for process in processes.everything() if process.session == guard.session]
        if processes.is_same(guard.pid, guard.start):
            found += processes.descendants(guard.pid)
        return found

    if guard.session > 1:
        processes.end_all(find, lambda: None)
    if processes.is_same(guard.pid, guard.start):
        processes.send(guard.pid, signal.SIGKILL)


def return_messages(
    records: List[Record], journal: Journal, queue: Queue, ended: Ended, emit: Callable[[Event], object]
) -> None:
    """Let the messages be received again at once; tell the end of steps whose messages are gone."""
    for record in records:
        if record.acknowledged:
            for key in record.steps:
                if key not in ended:
                    finish_unstarted(ended, emit, key, LEFT_BEHIND)
            journal.remove(record.message)
            continue
        journal.remove(record.message)  # first: the message may come back to us at once, with a new record
        try:
            queue.set_visibility(record.receipt, 0)
        except CloudError as error:  # it has become visible by itself, or was deleted
            log.info("message %s was not in flight any more: %s", record.message, error)
